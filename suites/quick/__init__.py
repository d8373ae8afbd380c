"""Bundled suites of small generated problems: no data to fetch, one suite for each category.

Each suite has templates, and a template has far more instances than are asked. An instance belongs to the train or the
held-out side by a hash of what identifies it, so a model may be trained on one side and measured on the other.
"""

from suites.quick.generator import Instance, QuickSuite, Split, Template, side_of

__all__ = ["Instance", "QuickSuite", "Split", "Template", "side_of"]

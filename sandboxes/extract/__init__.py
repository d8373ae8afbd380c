"""From a model's raw text to its answer: reasoning split off, code, final answers, letters and numbers found.

One place for each of these, shared by suites, verifiers and rewards. Everything here reads hostile text on the trusted
side, so everything is linear in its length: no nested quantifiers, no parser, no evaluation.
"""

from sandboxes.extract.answer import choice_letter, final_answer, last_boxed, number, without_run_on
from sandboxes.extract.code import Block, continuation, fenced_blocks, last_fenced_block, python_code
from sandboxes.extract.reasoning import Split, split

__all__ = [
    "Block",
    "Split",
    "choice_letter",
    "continuation",
    "fenced_blocks",
    "final_answer",
    "last_boxed",
    "last_fenced_block",
    "number",
    "python_code",
    "split",
    "without_run_on",
]

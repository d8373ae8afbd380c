"""Suites that ask how well a model does as it is told."""

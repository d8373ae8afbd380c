"""Suites that ask what a model refuses, and what it should not."""

"""Suites that ask what a model knows."""

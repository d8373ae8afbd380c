"""Suites that ask for programs."""

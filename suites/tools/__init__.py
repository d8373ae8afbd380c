"""Suites that ask for tool calls."""

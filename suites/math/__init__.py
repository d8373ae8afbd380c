"""Suites that ask for mathematical answers."""

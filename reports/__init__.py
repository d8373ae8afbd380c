"""Leaderboards and comparison pages from run directories."""

"""Engines: the ways to start a confined supervisor. `docker` is the real one, `local` the embedded default."""

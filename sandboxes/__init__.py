"""Where trust lives: untrusted output is run and judged here, and nowhere else."""

"""What drives a model: one module a scheme, imported when the scheme is asked for."""

"""Models by all pairs of formats; see `__main__`."""

"""A complete plugin in plain Python and numpy: small enough to read, real enough to be judged."""

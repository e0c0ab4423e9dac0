"""The page: what is on it, and how it behaves in a browser."""

"""ExecuTorch: `.pte` files, their edges, their runner and their inspector."""

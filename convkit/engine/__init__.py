"""Planning, running, verifying and storing."""

"""Which layers suffer from integers, and which of them to spare."""

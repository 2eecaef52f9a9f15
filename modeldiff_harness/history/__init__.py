"""What stored reports say in the order of their dates."""

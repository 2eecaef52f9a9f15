"""Two models' results of one task → paired rows, items and faults."""

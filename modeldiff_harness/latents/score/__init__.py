"""The verb `score`: one pass over held-out activations, sums for every scorer and example."""

"""The verb `train`: a sparse dictionary fitted to a stream of paired activations."""

"""The kit of tests: planted activations, tiny models, latent scores and reports from plain data.

Nothing is imported here: each module is imported by those who need it.
"""

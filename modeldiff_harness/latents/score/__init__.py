"""The verb `score`: one pass over held-out activations that feeds every scorer.

Read in this order; the scorers are components (`builtin/scorer_*.py`).
    score.py             the verb: contexts, scorers, their merging and their columns
    document_firings.py  the firings of a batch, grouped by document and latent
    quality.py           FVE, L0, dead and dense latents
    firing_counts.py     in how many prompts of each group a latent fires
    examples.py          windows of tokens around the activations
"""

"""The verb `label`: what a latent is about, tested on documents that the labeler never saw.

Read in this order; the labelers are components (`builtin/labeler_*.py`).
    label.py              the verb: which latents are asked about, proposals, the held-out test
    evidence.py           what a labeler is shown
    capability_counts.py  a latent's prompts, mass and tokens by capability
"""

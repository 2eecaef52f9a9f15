"""What a latent is about: where it fires, and what a labeler sees of it.

activity.py  one latent's prompts, mass and tokens by capability
evidence.py  what a labeler is shown
"""

"""Whose latent is it: what `classify` reads, and where its thresholds come from.

pairwise.py  score columns by ordered pair of models
rules.py     the named rules
"""

"""The verb `classify`: whose a latent is, from scores and thresholds.

Read in this order.
    classify.py  the verb: owners under every rule, and how they move with one threshold
    pairwise.py  Δnorm and ν of two models, the guards before any rule
    rules.py     published, calibrated, above_null
"""

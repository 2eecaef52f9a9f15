"""The latent arm: what differs inside two models, from activations to a capability profile.

The verbs, in the order of the pipeline; each folder holds the verb and what only it is made of
    harvest/           models, corpus, sites → activations, and the streams they are read through
    train/             stream → dictionary: loss, gradients, optimiser step, checkpoints
    score/             dictionary, held-out stream → score columns, examples: sums, no thresholds
    classify/          scores, rules → owners
    label/             owners, examples → labels, tested on documents the labeler never saw
    profile.py         owners, labels → shares per capability

What they share
    dictionaries/      encoding with a finished dictionary; reading and writing published ones
    difference/        how far the activations moved, the matched null, cheap explanations
    kernels/           the inner pieces of a training step, a file a backend
    compiled/          loops of the score pass, compiled for the CPU

Folders import downwards only; pyproject.toml holds the order.
"""

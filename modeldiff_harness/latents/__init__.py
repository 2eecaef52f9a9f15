"""The latent arm: what differs inside two models, from activations to a capability profile.

The six verbs
    harvest.py         models, corpus, sites → activations, one row a kept token
    train.py           stream → dictionary (thin: the learner does the work)
    score.py           dictionary, held-out stream → score columns, examples: sums, no thresholds
    classify.py        scores, rules → owners
    label.py           owners, examples → labels, tested on documents the labeler never saw
    profile.py         owners, labels → shares per capability

What they are made of, in the order of the pipeline
    activations/       streams of paired activations: from a cache, or while the models run
    training/          a BatchTopK crosscoder: loss, gradients, optimiser step, checkpoints
    kernels/           the inner pieces of a training step, a file a backend
    dictionaries/      encoding with a finished dictionary; reading and writing published ones
    scoring/           what the score pass counts beside the scorers
    compiled/          its loops, compiled for the CPU
    ownership/         score columns by ordered pair, and the rules that draw thresholds from them
    meaning/           latents by capability, and what a labeler is shown of them
    difference/        how far the activations moved, the matched null, cheap explanations

Folders import downwards only: the verbs stand above scoring, ownership, meaning and difference,
these above dictionaries and training, and those above compiled, kernels and activations.
"""

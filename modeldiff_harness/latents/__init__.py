"""The latent arm: what differs inside two models, from activations to a capability profile.

The six verbs
    harvest.py      models, corpus, sites → activations, one row a kept token
    train.py        stream → dictionary (thin: the learner does the work)
    score.py        dictionary, held-out stream → score columns, examples: sums, no thresholds
    classify.py     scores, rules → owners
    label.py        owners, examples → labels, tested on documents the labeler never saw
    profile.py      owners, labels → shares per capability

What they stand on
    stream.py       paired, normalised activations in shuffled or corpus order
    encode.py       inference form of a dictionary: codes, reconstructions, latent weights
    crosscoder.py   parameters, loss terms and sparse gradients of a BatchTopK step
    initialise.py   first weights of a crosscoder
    threshold.py    the inference threshold θ
    checkpoint.py   atomic checkpoints of a long training
    group_activity.py  in which groups of documents a latent is active
    quality.py      FVE, L0, dead and dense shares
    examples.py     windows of tokens around activations
    kernels/        the inner pieces of a training step, a file a backend
"""

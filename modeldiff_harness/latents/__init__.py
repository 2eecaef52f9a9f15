"""The latent arm: what differs inside two models, from activations to a capability profile.

The six verbs
    harvest.py         models, corpus, sites → activations, one row a kept token
    train.py           stream → dictionary (thin: the learner does the work)
    score.py           dictionary, held-out stream → score columns, examples: sums, no thresholds
    classify.py        scores, rules → owners
    label.py           owners, examples → labels, tested on documents the labeler never saw
    profile.py         owners, labels → shares per capability

Activations and training
    stream.py          paired, normalised activations in shuffled or corpus order
    live_stream.py     the same while the models run: a mixing buffer instead of a cache
    mixing.py          which tokens the buffer holds and gives out when
    buffer.py          its memory; prefetch.py: the refill beside the training steps
    live_order.py      which blocks it holds; outliers.py: what a resumed run must know
    live.py            running chosen documents, and measuring a sample of them
    sample.py          parts of a corpus
    match.py           scaling the null twin's adapter to the model's difference energy
    crosscoder.py      loss terms of a BatchTopK crosscoder and the sparse factors of its gradients
    auxiliary.py       the auxiliary term: a way back for dead latents
    step.py            parameters and Adam state; one optimiser step
    initialise.py      first weights of a crosscoder
    threshold.py       the inference threshold θ
    checkpoint.py      atomic checkpoints of a long training
    kernels/           the inner pieces of a training step, a file a backend

What the score pass counts
    encode.py          inference form of a dictionary: codes, reconstructions, latent weights
    group_activity.py  activity of every latent by split, capability and author
    quality.py         FVE, L0, dead and dense shares
    examples.py        windows of tokens around activations

Owners, labels, controls
    pairwise.py        score columns by ordered pair of models
    rules.py           the named rules of `classify`
    activity.py        one latent's prompts, mass and tokens by capability
    evidence.py        what a labeler is shown
    auroc.py           area under the ROC curve with an interval
    prompts.py         what counts by prompt
    energy.py          difference energy by capability and author
    controls.py        cheap explanations that stand beside the latents
"""

"""The verb `train`: a sparse dictionary fitted to a stream of paired activations.

Read in this order; an architecture is a file of its own (`builtin/batchtopk.py`, `builtin/l1.py`).
    train.py         the verb: any learner, and what is checked of its dictionary
    architecture.py  what an architecture gives: settings, first weights, selection, loss
    settings.py      settings and schedules that all of them share
    learner.py       the loop: steps, events, checkpoints, the threshold θ
    run.py           the moving state: dead latents, guards against divergence, history
    initialise.py    first weights
    loss.py          a batch, its squared error, and the terms that come on top
    auxiliary.py     the term that brings dead latents back
    optimiser.py     Adam over rows, clipping
    checkpoint.py    what a killed training continues from
    use.py           the learner as a stage uses it
"""

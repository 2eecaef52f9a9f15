"""The verb `harvest`: models run over documents, and the streams they are read through.

Read in this order; the first half serves activations that lie on disk, the second a live stream.
    harvest.py       one model over the corpus, its residual stream written to disk
    prompts.py       which documents answer one prompt
    stream.py        paired, normalised activations of several models, shuffled or in corpus order
    renormalise.py   the same stream in the space of an imported dictionary
    batches.py       cutting and joining batches
    live.py          running a source over chosen documents; centre, spread and limits from a sample
    sample.py        parts of a corpus that are corpora themselves
    live_source.py   documents in, normalised tokens without outliers out
    mixing.py        which tokens the buffer gives out when: a function of corpus and seed
    outliers.py      which tokens were left out: all that a live stream writes
    live_order.py    where a token lies in that order
    buffer.py        the slots that tokens lie in
    live_blocks.py   which blocks the slots hold: loaded, given out, freed
    prefetch.py      one refill in a thread beside the training steps
    live_stream.py   the stream itself: whose turn it is, and what comes next
    reading.py       either kind as a stage reads it
"""

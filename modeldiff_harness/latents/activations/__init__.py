"""Paired activations as a stream, from a cache or while the models run, and parts of a corpus.

stream.py       paired, normalised activations in shuffled or corpus order
live_stream.py  the same while the models run: a mixing buffer instead of a cache
mixing.py       which tokens the buffer holds and gives out when
buffer.py       its memory
prefetch.py     its refill beside the training steps
live_order.py   which blocks it holds
outliers.py     the tokens left out so far: what a resumed run must know
live.py         running chosen documents, and measuring a sample of them
renormalise.py  a stream in the normalised space of a dictionary made elsewhere
sample.py       parts of a corpus that are corpora themselves
prompts.py      what counts by prompt, and a pair's raw activations
"""

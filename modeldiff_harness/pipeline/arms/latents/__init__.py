"""The latent arm: corpus → harvest → train → score → classify → label → profile.

arm.py          all its stages, and what `--plan` says of them
corpus.py       the documents every model is run over
activations.py  harvests on disk, or models that run while something learns
dictionary.py   one dictionary and its null run
findings.py     what the report reads
cost.py         disk and memory
"""

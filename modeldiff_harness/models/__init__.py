"""Models: which ones a name means, what exactly they are, how they are opened and compared.

registry.py    alias, folder or Hub id → ModelRef
packaged.py    files inside installed distributions
loading.py     ModelRef → weights on a device; one base, several adapters
identity.py    content digests, without loading weights
templates.py   the one chat template of a run
blocks.py      the residual stream after a block
weights.py     are they the ones that the files hold?
preflight.py   can these models be compared?
probe.py       what they do with a few sentences
generate.py    greedy answers, resumable
doctor.py      what this machine can do
"""

"""What the score pass counts of every latent, beside the columns of the scorers.

group_activity.py    activity by split, capability and author
quality.py           of the whole dictionary: FVE, L0, dead and dense shares
document_firings.py  firings grouped by document and latent, once a batch for all readers
examples.py          windows of tokens around activations
"""

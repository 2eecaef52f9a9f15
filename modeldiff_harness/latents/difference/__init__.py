"""The difference of two models without a dictionary: what the latents are held against.

energy.py    difference energy by capability and author
match.py     scaling the null twin's adapter to the model's difference energy
controls.py  cheap explanations that stand beside the latents
"""

"""Corpora: documents from anywhere → tokens with roles, tags and splits.

documents.py    readers, one Document a row
capability.py   the shipped capability corpus with the models' own answers
splits.py       train / calibrate / score / label_test, by prompt
whole_text.py   what no tokenizer can take is refused
tokenise.py     documents → TokenisedCorpus, one chat template for all models
"""

"""Compiled loops of the score pass, for the CPU; import the loops only when they run.

scoring.py   threshold scan, decoding, products, sums
examples.py  firings grouped by document, shelves of windows, choosing among them
threads.py   running a loop on several cores over fixed ranges
"""

"""Compiled loops of the score pass, for the CPU; import the loops only when they run.

score_loops.py    threshold scan, decoding, products, sums
example_loops.py  firings grouped by document, shelves of windows, choosing among them
threads.py        running a loop on several cores over fixed ranges
"""

"""The benchmark arm: one task and one model at a time, then paired statistics.

records.py           the nouns of the arm: task, settings, model, one finished run
tasks.py             the namespace of `--tasks`: lm-eval's names, ours, and the words of other arms
lm_eval_adapter/     the only folder that imports lm_eval
samples.py           lm-eval's sample rows ↔ typed rows
sample_files.py      their files' names
answer_faults.py     answers that say little: not extracted, empty, truncated, refused
bench.py             the verb: one task with one model, stored task by task
pairing/             two models' results on the same items become rows with intervals
export.py            lm-eval's own result files and table, with the pair rows beside
"""

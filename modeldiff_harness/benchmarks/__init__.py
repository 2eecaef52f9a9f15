"""The benchmark arm: one task and one model at a time, then paired statistics.

records.py           the nouns of the arm: task, settings, model, one finished run
tasks.py             the namespace of `--tasks`: lm-eval's names, ours, and the words of other arms
lm_eval_adapter/     the only folder that imports lm_eval
task_sizes.py        how many items a task has, without loading it
bench.py             the verb: one task with one model, stored task by task
samples.py           lm-eval's sample files, read into a table; sample_files.py: their names
sample_table.py      samples as columns
answer_faults.py     answers that say little: not extracted, empty, truncated, refused
importers.py         which importer reads a path
bounded_files.py     how it may read; bounded_parquet.py: the same for parquet
epoch_reducers.py    what Inspect makes of several epochs; inspect_epochs.py: of one log's
directions.py        whether higher is better, as a source states it
pairing/             two models' results on the same items become rows with intervals
flips.py             items lost and gained, with both answers
export.py            lm-eval's own result files and table, with the pair rows beside
"""

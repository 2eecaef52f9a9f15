"""The benchmark arm: one task and one model at a time, then paired statistics.

records.py           the nouns of the arm: task, settings, model, one finished run
tasks.py             the namespace of `--tasks`: lm-eval's names, ours, and the words of other arms
lm_eval_adapter/     the only folder that imports lm_eval
samples.py           lm-eval's sample rows ↔ typed rows
answer_faults.py     answers that say little: not extracted, empty, truncated, refused
pairing.py           two models' samples on the same items
cluster_keys.py      which items belong together
aggregations.py      lm-eval's aggregations as functions of sums
metric_values.py     one metric of paired samples as numbers
noise_floor.py       reruns of the baseline on the same items
paired_task.py       the two models' samples of one task, compared
paired_rows.py       one metric as a row; what depends on how many rows there are
paired_items.py      items aligned, told and faulty
group_rows.py        the row of a group of tasks
bench.py             the verb: `bench_task` (stored task by task), `pair_runs`, `pair_measured`
export.py            lm-eval's own result files and table, with the pair rows beside
"""

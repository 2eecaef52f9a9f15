"""Two models' results on the same items become rows: candidate − baseline, with intervals.

runs.py           stored runs of the verb `bench`, paired
measured.py       measured tasks from anywhere, paired task by task
task.py           one task: its samples aligned, compared and told
align.py          two models' samples on the same items
cluster_keys.py   which items belong together
metric_values.py  one metric of the paired samples as numbers
aggregations.py   lm-eval's aggregations as functions of sums
noise_floor.py    reruns of the baseline on the same items
rows.py           one metric as a row; what depends on how many rows there are
groups.py         the row of a group of tasks; group_weights.py: where the harness weighs otherwise
prompts.py        whether two prompts of one item ask the same
items.py          items aligned, told and faulty
"""

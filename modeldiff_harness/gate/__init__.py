"""`gate`: a report and a policy become a release verdict.

policy.py         what must hold, as dataclasses; the defaults and the digest
policy_file.py    gate.yaml, every error with its line
policy_draft.py   a commented policy whose margins fit a run (`mdh gate init`)
policy_change.py  what changed since the last gate of the pair
expand.py         patterns of a policy become one criterion a task
measure.py        the report's numbers behind a criterion, at the gate's confidence
checks.py         when a report's numbers may decide at all
waivers.py        what does not count today
decide.py         the verdict
flags.py          its sentence, and what a reviewer must know beside it
schema.py         gate.json: writing, reading, its schema
section.py        the verdict as a section of the report; figure.py draws it
words.py          numbers, margins and outcomes as readers see them
junit.py          JUnit XML
github.py         step summary and annotations of a GitHub workflow
terminal.py       the verdict in a terminal
write.py          gate.json, gate.xml and the report's pages with the verdict
sample_size.py    the sizes a decision needs (`mdh plan`); sample_size_section.py shows them

Nothing here imports torch.
"""

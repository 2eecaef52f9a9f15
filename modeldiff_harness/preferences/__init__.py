"""The preference arm: what is preferred, and how much of it is style.

| module | topic |
|---|---|
| `prompts` | the prompts both models answer: the shipped set or a JSONL file |
| `answers` | verb part: one model answers the prompts |
| `battle` | verb `battle`: a judge compares the answers |
| `importers` | battles from a file |
| `style` | style counts of an answer |
| `rows` | battles of any models and sides as the rows of a fit |
| `rank` | verb `rank`: the fits of a pair |
| `deltas` | what is said of these fits: `PreferenceDeltas` with its flags |

Importing this package imports nothing heavy; `rank` needs numpy and scipy.
"""

"""The preference arm: what is preferred, and how much of it is style.

| module | topic |
|---|---|
| `prompts` | the prompts both models answer: the shipped set or a JSONL file |
| `answers` | verb part: one model answers the prompts |
| `battle` | verb `battle`: a judge compares the answers |
| `importers` | battles from files: finds the importer that reads them |
| `row_importer`, `battle_files` | what importers share: rows of any container, their battles |
| `judge_prompts` | the answers cut out of the prompt that a judge was shown |
| `style` | style counts of an answer |
| `rows` | battles of any models and sides as the rows of a fit |
| `coefficients` | style effects that are given, not fitted |
| `rank` | verb `rank`: the fits of a pair |
| `deltas`, `sentence` | what is said of these fits: `PreferenceDeltas` |
| `flags` | what the flags mean, for readers |

Importing this package imports nothing heavy; `rank` needs numpy and scipy.
"""

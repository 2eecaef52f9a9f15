"""The preference arm: what is preferred, and how much of it is style.

| module | topic |
|---|---|
| `prompts` | the prompts both models answer: the shipped set or a JSONL file |
| `answers` | verb part: one model answers the prompts |
| `battle` | verb `battle`: a judge compares the answers |
| `importers` | battles from a file |
| `orientation` | rows candidate - baseline out of battles of any models and sides |
| `style` | style counts of an answer and their differences over rows |
| `rank` | verb `rank`: the pair fit with its parts, categories and flags |

Importing this package imports nothing heavy; `rank` needs numpy and scipy.
"""

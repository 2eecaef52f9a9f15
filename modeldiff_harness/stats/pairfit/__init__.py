"""Style control of a pair's battles: raw preference = substance + style + dispersion.

In reading order:

| module | topic |
|---|---|
| `rows` | the data of a fit (`pair_rows`, `PairRows`), its options, the design matrix |
| `fit` | `fit_pair`: the battles of one pair, by logistic regression; `fit_without_ties_or_bad` |
| `parts` | the four parts of groups of battles in Elo and points, with their influences |
| `dispersion` | the interval of dispersion with few clusters, by resampling them |
| `dispersion_of_many` | the same within a file of many models |
| `diagnostics` | when a fit must not be read as substance and style |
| `many` | `fit_among_many`: the pair within a file of many models, by Bradley-Terry |
| `categories` | `fit_categories`: shared style, an intercept a category, and whether they differ |

`stats.logit` and `stats.bradley_terry` do the optimisation.
"""

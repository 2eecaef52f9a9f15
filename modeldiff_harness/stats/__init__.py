"""Pure statistics: arrays in, frozen records out; numpy and scipy only.

| module | topic |
|---|---|
| `estimates` | the result types that all share, critical values |
| `clusters` | cluster labels to indices, sums within clusters |
| `paired` | the paired difference of two models: entry point and continuous scores |
| `paired_binary` | right or wrong on the same items: McNemar, Bonett-Price |
| `bootstrap` | BCa intervals for a ratio of sums over units, sign-flip permutation |
| `aggregate` | paired difference of any corpus-level metric |
| `stratified` | a group estimate from its sub-tasks |
| `noise` | how much a result moves when nothing but the run changes |
| `effects` | effect sizes that travel between metrics |
| `multiplicity` | false discovery rate, family-wise error, simultaneous intervals |
| `power` | minimum detectable effect, items for a margin, Elo precision |
| `counts` | shares, differences and ratios of counts |
| `auroc` | area under the ROC curve with an interval that holds near 0 and 1 |
| `blocks` | block jackknife for ratios of sums |
| `logit` | grouped-intercept logistic regression with influence functions |
| `bradley_terry` | scores of many models with shared slopes |
| `pairfit/` | style-controlled preference fit of a pair |
| `ranks` | rank tests on counts by ordered level |
| `gate` | release decisions from estimates and margins |
| `gate_rates` | how often a gate decides rightly |

Every delta is candidate - baseline.
"""

"""From a stored run to findings. Pure: everything here can be run again from the raw files.

judge: which measurements may be used, and why the others may not. measures: what a metric is, and
its value in each cell. statistics: exact intervals over rounds, percentiles with enough samples.
contrasts: which two configurations differ in one factor. compare: paired ratios and their verdict.
bills: what processes used per unit of work. kernel: what packets met there.
control: the A/A difference (noise floor) and what else must agree. breakeven: where conntrack pays.
proofs: what each round proved beside its cells' counters.
claims: the claims about the packet's way, each with a verdict. answer: the findings in sentences.
findings: `analyse`, which joins all of it, and the document that is saved. gates: the suite's thresholds,
met or missed. excerpt: what is kept of a run to hold others against. across: two excerpts, metric by
metric. calibration: how often all this claims what is not there, from recorded noise.

The round is the unit. Samples within a round share its weather, so only rounds are compared: the
ratio of two configurations is taken within each round, and an interval is one over those ratios. The
comparisons that answer one question are a family: a difference is claimed if it stands Holm's procedure.
"""

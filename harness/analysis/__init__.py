"""From a stored run to findings. Pure: everything here can be run again from the raw files.

judge: which measurements may be used, and why the others may not. measures: what a metric is, and
its value in each cell. statistics: exact intervals over rounds, percentiles with enough samples.
contrasts: which two configurations differ in one factor. compare: ratios within bouts, their intervals and
verdicts. looks: what it costs to look before the end. enough: which of a run's questions are answered.
bills: what processes used per unit of work. kernel: what packets met there.
control: the twins, which have to be equal, and what else must agree. lane_effects: what a lane's number does.
breakeven: where conntrack pays. timing: where a run's own time went. rounds: how rounds agree.
proofs: what each round proved beside its cells' counters.
claims: the claims about the packet's way, each with a verdict. answer: the findings in sentences.
findings: `analyse`, which joins all of it, and the document that is saved. gates: the suite's thresholds,
met or missed. excerpt: what is kept of a run to hold others against. across: two excerpts, metric by
metric. calibration, procedures: how often all this claims what is not there, or misses what is, from recorded
noise; the second one by whole runs with their looks.

The bout of a round is the unit: its configurations had their turns within the same seconds, so the ratio of
two of them is taken there, and an interval is one over rounds. The comparisons that answer one question are a
family: a difference is claimed if it stands Holm's procedure, at the level that the look left to spend.
"""

"""What will be done: bouts in shuffled rounds, and how long that will take.

model: factors, configurations, loads, cells, bouts, the plan itself. pairs: which configurations are one
factor apart. bouts: which of them are measured in turns, so that every such pair shares a bout. order: from
a suite to a plan; which configuration has which lane in which round, and after which rounds a run looks.
predict: seconds per bout, from the load and from costs that were measured. costs: what processes use.
document: a plan as JSON and back. scenarios: one file per kind of load.
"""

"""What proves that a cell did what it claims, and what it is worth without such proof: nothing.

model: the words (check, remark, verdict). sources: one file per source of evidence; each turns
replies of agents, proxies and load processes into a document, and a document into typed readings.
checks: one file per check, each a pure function of a case. case: what a check is given.
limits, noise: remarks. verdict: `evaluate`, which joins all of it. collector: reads the sources of a
running testbed around a bout, lane by lane; the only file here with effects beside the host's own reading.
lanes: one lane's share of what agents counted. samples: the rows that the load saved, as columns.
"""

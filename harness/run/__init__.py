"""Doing a plan: the story of a run.

story: from the suite to the saved findings; it ends where its questions are answered. bout: a bout, from
placing its lanes to their last pieces of evidence. asks: what a bout asks of the load processes. resume:
going on with a run. delay: distance between nodes. proofs: what is proved of each lane once a round.
processes: whose CPU time counts as what. progress: what the user sees meanwhile.
"""

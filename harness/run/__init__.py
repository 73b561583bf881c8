"""Doing a plan: the story of a run.

story: from the suite to the saved findings. cell: one cell, from switching to its last piece of
evidence. delay: distance between nodes. proofs: what is proved once a round.
progress: what the user sees meanwhile.
"""

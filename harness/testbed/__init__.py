"""Bring a testbed up, hand out handles, take it down, prove that nothing is left.

members: from a topology to the processes that make it up. testbed: up, down, and the handles
between. ready: every pod answers through its own path. rundir: a run's folder and its journal,
written before anything is made. lock: one measuring run per machine. leftovers: what dead runs left.
requirements: what a machine has to have. trial: a member of each kind, that tries it. checks: both, as rows.
snapshot: what exists on this machine, to compare before with after.
"""

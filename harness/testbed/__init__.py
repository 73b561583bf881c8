"""Bring a testbed up, hand out handles, take it down, prove that nothing is left.

members: from a topology to the processes that make it up. Pure. testbed: up, down, and the handles
between. ready: every pod answers through its own path. rundir: a run's folder and its journal,
written before anything is made. lock: one measuring run per host. leftovers: what dead runs left.
snapshot: what exists on this machine, to compare before with after.
"""

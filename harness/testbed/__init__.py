"""Bring a testbed up, hand out handles, take it down, prove that nothing is left.

placement: what a lane carries. members: from a topology and its lanes' placements to the processes that
make it up. Both pure. testbed: up, down, and bringing lanes to other placements between. lane: the handle
on one. channels: asking several members at once. ready: every pod answers through its own path.
rundir: a run's folder and its journal, written before anything is made. lock: one measuring run per machine.
requirements: what a machine has to have. trial: a member of each kind, that tries it. checks: both, as rows.
leftovers: what dead runs left. snapshot: what exists on this machine, to compare before with after.
"""

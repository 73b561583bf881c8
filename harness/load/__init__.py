"""What sends, and what it saw.

records: the rows that leave the load processes. wire: one HTTP exchange, built and verified.
clock: sleeping until an instant, closer than the interpreter's own means.
probe: first packets, one connection at a time, in a process of its own (`python3 -m harness.load.probe`).
arrivals: when the requests of an open loop are due.
pingpong, paced: what the probe process does on one live connection, back to back or at a pace.
stage: one window of load under gevent, for the users in suites/locustfiles; each *_stage is one kind.
driver: Locust, kept alive for the whole run (`python3 -m harness.load.driver`).
crew: several drivers as one, their samples merged.
roundtrip: one request to each target until it succeeds, which is what ready means.
"""

"""What sends, and what it saw.

records: the rows that leave the load processes. wire: one HTTP exchange, built and verified.
clock: sleeping until an instant, closer than the interpreter's own means.
probe: first packets, one connection at a time, in a process of its own (`python3 -m harness.load.probe`).
stage: one window of load under gevent, for the users in suites/locustfiles.
driver: Locust, kept alive for the whole run (`python3 -m harness.load.driver`).
roundtrip: one request to each target until it succeeds, which is what ready means.
"""

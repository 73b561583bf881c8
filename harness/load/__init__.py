"""What sends, and what it saw: one generator of each kind, for all lanes of a bout.

records: the rows that leave the load processes. wire: one HTTP exchange, built and verified.
lane: a lane as it is asked for, and a turn. order: in which order lanes have their turns. supply: sockets out
of the client pods, fetched ahead. split: a reply for all lanes, dealt out (for the harness).
clock: sleeping until an instant, closer than the interpreter's own means.
probe: first packets, one connection at a time, in a process of its own (`python3 -m harness.load.probe`).
arrivals: when the requests of an open loop are due.
later, paced: what the probe process does on live connections, back to back or at a pace.
blocking: the probe process's sockets.
stage: blocks of load under gevent, for the users in suites/locustfiles; each *_stage is one kind.
driver: Locust, kept alive for the whole run (`python3 -m harness.load.driver`).
crew: several drivers as one, their samples merged.
"""

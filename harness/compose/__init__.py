"""The two-node testbed as a compose file, for a person to poke at.

files: what `compose/` holds, generated from the smoke suite's topology; `python -m harness.compose`
writes it. Members, images and capabilities are those of the Docker engine.

Two things that the engine does from outside happen in containers here. wire: tells the agents to make
links, write rules and enrol pods, once all containers run. unlock: makes /proc/sys writable for the
agent, which the engine asks of Docker directly and a compose file cannot.
"""

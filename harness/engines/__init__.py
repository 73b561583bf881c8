"""How a testbed's namespaces and processes come to exist.

api: what an engine does; the words Member, Mount, Run. One file per engine, found by name: `docker`
(containers without networks) and `netns` (a tree of namespaces under one supervisor, `netns_init`,
as root or as an ordinary user). `choice` takes one and says why. `owner` tells a live run from a
dead one. `starts` keeps a removal from being overtaken by a start, `stops` says which members may go
alone. `docker_endpoint` is which Docker is meant, `docker_answers` whether one that answers so will do.
`images` builds what the containers hold, from the Debian releases and wheels of `supplies`, which pip fetches
as `pip_settings` lets it. `kernel` is the few system calls that Python 3.11 lacks. `idle` is the process of
a member that only holds a namespace.

Engines wire nothing: links, addresses, routes and rules are the agent's, the same on every engine.
"""

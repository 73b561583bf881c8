"""Where evidence comes from: one file per source.

Each has `NAME`, the document's name in a cell's `evidence/` folder; `collect`, which turns replies
into that document; and `read`, which turns the document into typed readings.

rules: counters and digests of every namespace's packet rules. conntrack: the table at the end.
sockets: the kernel's TCP counters. wire: packets on links, by port. tunnels: the proxies' counters.
answers: what came back to the load processes. generator: the load processes' own health.
host: steal, load, throttling, pressure and clocks of the machine.
"""

SOURCES = ("answers", "conntrack", "generator", "host", "rules", "sockets", "tunnels", "wire")
"""Names of all documents that a cell has to have."""

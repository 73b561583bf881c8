"""Which tunnel a new connection uses: one that exists, a new one, or one that somebody is opening.

A Key says what a tunnel is for. Life is one tunnel's state, with the table of its transitions. `decide` says
what a connection does: use a tunnel, open one, wait. An Entry has the tunnels of one key and the connections
that wait; it is pure. Turns let the openers of one key go one after another. The Pool is the asyncio shell
around them all.

Invariants, whose names the tests bear:
- unique keys have unique connections: a tunnel serves one source identity, one set of expected
  identities, one source address and one destination; never anybody else.
- connections are reused: a tunnel with room is used before another is opened.
- one opener: connections that come while a tunnel for their key is being opened wait for that one, as many
  as it will carry; for the rest further ones are opened beside it, at most `OPENERS` at a time.
- when the last opener fails, those who waited fail with it, at once, each with an error of its own; a tunnel
  that is lost before the peer's SETTINGS is tried once more.
- connection limits: no tunnel carries more streams than min(ours, the peer's SETTINGS); one that is
  full is used again when streams end.
- dead, draining and retired tunnels are never used; neither is one of an older certificate, nor, by
  a connection that has just met a stale one, any that is as old.
- slow readers: where a tunnel's window towards the peer is used up, a new connection has another tunnel.
- idle eviction: a tunnel without streams is closed `idle_s` after its last use.
- without reuse each connection has a tunnel of its own; serialised, those of one key are opened one
  after another, as ztunnel does it under its lock.

Source: ztunnel src/proxy/pool.rs, whose key and numbers these are. Unlike there, waiters are woken when
the opener fails, and a full tunnel comes back.
"""

from proxy.pool.key import Key
from proxy.pool.life import PoolTunnel
from proxy.pool.pool import Opener, Pool

__all__ = ["Key", "Opener", "Pool", "PoolTunnel"]

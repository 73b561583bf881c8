"""Guards that can be switched off, one by one, from outside: the product has no flag for it.

http2: floods and limits of a connection. policy: T50 to T64. pool: tunnels and who waits, P11 to P56.
mutation: what one is.
"""

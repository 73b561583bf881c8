"""Guards that can be switched off, one by one, from outside: the product has no flag for it.

http2: floods and limits of a connection. policy: T50 to T64. telemetry: of P04 to P42. mutation: what one is.
"""

"""Guards that can be switched off, one by one, from outside: the product has no flag for it.

http2: floods and limits of a connection. wire: what must not be taken for one, P02 to P44.
policy: T50 to T64. mutation: what one is.
"""

"""Raw bytes against a real proxy: its listeners in a namespace of their own, mutual TLS, a real app behind.

running: the proxy, on a thread of its own, for many tests. peer: a blocking client that writes frames by
hand. cases: what is sent and what has to come of it.
"""

"""Talking to the proxy itself, apart from the data path.

accept: connections with a limit, each in a task with a parent.
http: HTTP/1.1 as little as is needed, bounded in bytes and time.
pages: admin (15000), metrics (15020), readiness (15021).
control: JSON lines on unix sockets, for the bench.
"""

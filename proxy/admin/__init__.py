"""Talking to the proxy itself, apart from the data path.

accept: connections with a limit, each in a task with a parent.
addresses: where the ports are, on both families.
http: HTTP/1.1 as little as is needed, bounded in bytes and time.
pages: admin (15000), metrics (15020), readiness (15021).
dump: what `/config_dump` shows. resources: workloads, services and policies in it.
control: JSON lines on unix sockets, for the bench.
"""

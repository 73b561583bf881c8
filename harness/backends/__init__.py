"""What answers requests: one member per pod and per outside host.

nginx: HTTP with the request's nonce, pod, node and the source that it saw; its configuration and counters.
tcp: echo, sink and source, for byte-exact checks and bulk transfer. pattern: the bytes that source sends.
`python3 -m harness.backends` runs both; they end together.
"""

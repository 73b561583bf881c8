"""The proxies send session tickets and resume by them (M06, T36)."""

FIRES = "handshakes"
BECAUSE = "tls_resumptions"
ALTERATION = ("proxy.tests.sabotaged", "tickets")

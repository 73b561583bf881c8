"""The proxies' tunnels are TLS with a cipher that encrypts nothing (M35)."""

FIRES = "nonce-in-clear"
BECAUSE = "tunnels are encrypted"
ALTERATION = ("proxy.tests.sabotaged", "cleartext")

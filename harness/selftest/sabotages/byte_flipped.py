"""The proxies flip a byte of the payload now and then (C5)."""

FIRES = "answers"
BECAUSE = "wrong_bytes"
ALTERATION = ("proxy.tests.sabotaged", "flip")

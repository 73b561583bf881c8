"""The lanes have their blocks at the same time (issue 18: turns)."""

FIRES = "turns"
BECAUSE = "within this one's"
LANES = 2
ALTERS = "locust"
ALTERATION = ("harness.tests.load.sabotaged", "together")

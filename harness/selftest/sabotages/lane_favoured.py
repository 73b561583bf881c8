"""One lane is the first of every cycle, and finds what the pause before it left behind (issue 18: order)."""

FIRES = "turns"
BECAUSE = "commonest place of a cycle"
LANES = 2
ALTERS = "locust"
ALTERATION = ("harness.tests.load.sabotaged", "first")

"""Nothing is captured. The tables exist all the same, so that every level's packets pass the same hooks."""

from __future__ import annotations

from harness.agent.rules.levels import Level
from harness.agent.rules.model import TABLES, RuleSet, Table

LEVEL = Level(
    rules=RuleSet(tables=tuple(Table(name=name) for name in TABLES)),
    sysctls={"ipv4/tcp_fwmark_accept": "0"},
)

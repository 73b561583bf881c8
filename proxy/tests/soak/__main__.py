"""`make soak`: fuzz, 5 GiB through one tunnel, load, neighbours; print figures, fail on them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from random import Random

from proxy.config import Loop
from proxy.main import loop_factory
from proxy.tests.soak.fuzz import Crash, fuzz
from proxy.tests.soak.load import load
from proxy.tests.soak.neighbours import neighbours
from proxy.tests.soak.targets import targets
from proxy.tests.soak.transfer import transfer

TRANSFER_BYTES = 5 * 2**30
TRANSFER_PATIENCE_S = 1200.0
"""0.04 Gb/s: a machine that takes longer does nothing else any more."""


def main() -> int:
    """0 good, 1 not."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--fuzz-s", type=float, default=600, metavar="S", help="all targets together [600]")
    parser.add_argument("--load-s", type=float, default=1800, metavar="S", help="mixed load [1800]")
    parser.add_argument(
        "--beside-s", type=float, default=210, metavar="S", help="neighbours beside suspects [210]"
    )
    parser.add_argument("--seed", type=int, default=Random().getrandbits(32))
    given = parser.parse_args()
    factory, loop = loop_factory(Loop.AUTO)
    times = f"fuzz {given.fuzz_s:g} s, load {given.load_s:g} s, neighbours {given.beside_s:g} s"
    say(f"soak: {times}, seed {given.seed}, on {loop}")
    problems = []
    everything = targets()
    for target in everything:
        try:
            say(str(fuzz(target, seconds=given.fuzz_s / len(everything), seed=given.seed)))
        except Crash as exc:
            problems.append(str(exc))
    with asyncio.Runner(loop_factory=factory) as runner:
        carried = runner.run(transfer(TRANSFER_BYTES, seed=given.seed, patience_s=TRANSFER_PATIENCE_S))
    say(str(carried))
    problems += carried.problems()
    with asyncio.Runner(loop_factory=factory) as runner:
        figures = runner.run(load(given.load_s, seed=given.seed))
    say(str(figures))
    problems += figures.problems()
    with asyncio.Runner(loop_factory=factory) as runner:
        for beside in runner.run(neighbours(given.beside_s, seed=given.seed)):
            say(str(beside))
            problems += beside.problems()
    for problem in problems:
        say(f"FAILED {problem}")
    say("soak: " + ("failed" if problems else "passed"))
    return 1 if problems else 0


def say(line: str) -> None:
    """At once: a soak takes a while."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

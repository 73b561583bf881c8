"""A run of ten million samples, to hold the analysis against its bounds: 30 s and 2 GB.

    .venv/bin/python -m harness.tests.ten_million /tmp/large
    /usr/bin/time -v .venv/bin/ambientbench report /tmp/large/20260102-030405-large

The quick suite's 90 cells; what is many is the requests at a fixed rate, whose latencies are all pooled.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness.suite import load_suite
from harness.tests import synthetic

SAMPLES = 10_000_000
RUN = "20260102-030405-large"


def generate(root: Path, samples: int = SAMPLES) -> Path:
    """Write the run's folder.

    Args:
        samples: At least so many rows over all cells.
    """
    suite = load_suite("quick")
    per_cell = -(-samples // (suite.rounds * len(suite.configurations)))
    load = replace(suite.load, rate_hz=per_cell / suite.load.rate_s)
    return synthetic.record(root, replace(suite, load=load), run=RUN)


if __name__ == "__main__":
    sys.stdout.write(f"{generate(Path(sys.argv[1]))}\n")

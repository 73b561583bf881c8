"""`make test-ids`: print every id with its test or exclusion; exit 1 when one has neither.

With `--mutate [TEXT]`: also switch off every guard whose name has TEXT in it, in turn; exit 1 when no
test notices.
"""

from __future__ import annotations

import sys

from proxy.tests.ids.catalogue import catalogue, exclusions
from proxy.tests.ids.collect import by_id
from proxy.tests.ids.mutate import MUTATIONS, lacking, survivors
from proxy.tests.ids.report import report

tests = by_id()
found = report(catalogue(), tests, exclusions())
problems = [*found.problems, *lacking(MUTATIONS.values())]
sys.stdout.write("\n".join(found.lines) + "\n\n")
if "--mutate" in sys.argv:
    text = "".join(sys.argv[sys.argv.index("--mutate") + 1 :])
    problems += survivors(tests, [name for name in MUTATIONS if text in name])
sys.stdout.write("".join(f"{problem}\n" for problem in problems))
sys.stdout.write(f"{len(found.lines)} ids, {len(problems)} problems\n")
sys.exit(bool(problems))

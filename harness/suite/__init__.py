"""What the user wrote: one TOML file per suite, checked and made usable.

sources: reading files, `extends`, `-s key=value`, and the line on which a key stands.
raw: the file's shape as written (pydantic); the JSON Schema for editors comes from it.
problems: what is wrong, where, what is allowed, what was probably meant.
resolve: from raw to `Suite`, with everything that one key alone cannot tell.
gates: the thresholds that an exit code stands for.
model: `Suite`, the usable value; plan, testbed and report read nothing else.

Tables merge key by key along `extends`; everything else (lists included) is replaced.
"""

from harness.suite.model import Endpoints, Suite, Thresholds
from harness.suite.problems import SuiteError
from harness.suite.resolve import load_suite
from harness.suite.sources import find_suite, known_suites

__all__ = ["Endpoints", "Suite", "SuiteError", "Thresholds", "find_suite", "known_suites", "load_suite"]

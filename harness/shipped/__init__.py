"""Files that come with the code: suites with their locustfiles and schema, and what images are made of.

`suites` and `images` here are links to the folders at the top of the repository; a wheel holds the
files themselves. So a checkout and an installed package are read in the same way.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

FOLDER = Path(str(resources.files(__name__)))
ROOT = FOLDER.parents[1]
"""The folder that holds `harness` and `proxy`: a repository, or site-packages."""
SUITES = FOLDER / "suites"
LOCUSTFILES = SUITES / "locustfiles"
IMAGES = FOLDER / "images"

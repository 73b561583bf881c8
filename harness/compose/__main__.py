"""Write the files of `compose/`: `python -m harness.compose [FOLDER] [--check] [--images]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.compose.files import files
from harness.engines import choice
from harness.engines.api import Run
from harness.engines.owner import Owner

FOLDER = Path("compose")
"""Beside wherever it is run: the repository's own, or a new one where this is installed."""


def main() -> None:
    """Write the files, or say which differ; build the images when asked to."""
    parser = argparse.ArgumentParser(prog="harness.compose", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="./compose by default")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    parser.add_argument("--images", action="store_true", help="build the images that are missing, too")
    arguments = parser.parse_args()
    if arguments.check:
        differing = differences(arguments.folder)
        if differing:
            sys.exit(f"compose: {', '.join(differing)} differ from the topology; run `make compose`")
    else:
        for name, content in files().items():
            path = arguments.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    if arguments.images:
        build()


def differences(folder: Path) -> list[str]:
    """Files of `folder` that are not what the topology generates, or are not there."""
    return [
        name
        for name, content in files().items()
        if not (folder / name).is_file() or (folder / name).read_text() != content
    ]


def build() -> None:
    """Build the images that are missing, by the Docker engine's own way."""
    with TemporaryDirectory() as directory:
        run = Run(id="compose", directory=Path(directory), owner=Owner.current())
        engine = choice.choose("docker").module.engine(run)
        try:
            engine.prepare(lambda line: print(line, file=sys.stderr))  # noqa: T201  # what a person waits for
        finally:
            engine.close()


if __name__ == "__main__":
    main()

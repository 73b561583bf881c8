"""The cgroups whose limits hold for this process, as far as it can see them."""

from __future__ import annotations

from pathlib import Path


def limiting(controller: str, root: Path = Path("/")) -> list[Path]:
    """Our cgroup's folder of a controller (`cpu`, `memory`) and those above it: the limit of each is ours.

    Version 2's unified hierarchy, or version 1's of that controller. In a container the path may begin at the
    host's root, of which the mount shows the container's own part alone: not every folder exists.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        own = mount / path.lstrip("/")
        found += [own, *(above for above in own.parents if above.is_relative_to(mount))]
    return found

"""Make /proc/sys writable in this container, then become another command.

The agent writes net sysctls in its pods' namespaces. Docker mounts /proc/sys read-only; its command
line has `--security-opt systempaths=unconfined` for that, compose files of docker-compose 1.29 have
nothing. With CAP_SYS_ADMIN the mount can be changed from inside, for this container alone.
"""

from __future__ import annotations

import ctypes
import os
import sys

MS_REMOUNT, MS_BIND = 32, 4096
"""linux/mount.h"""


def main() -> None:
    """`python3 -m harness.compose.unlock COMMAND...`"""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, b"/proc/sys", None, MS_REMOUNT | MS_BIND, None):
        reason = os.strerror(ctypes.get_errno())
        sys.exit(
            f"remount /proc/sys writable: {reason}; the container needs SYS_ADMIN and apparmor=unconfined"
        )
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # becoming it is the point


if __name__ == "__main__":
    main()

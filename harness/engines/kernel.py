"""System calls that Python 3.11 has no function for. Each raises OSError naming what was attempted."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
MS_BIND, MS_REC, MS_NOSUID, MS_NODEV = 0x1000, 0x4000, 0x2, 0x4
"""linux/mount.h"""
MNT_DETACH = 2
"""linux/fs.h"""
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
"""linux/prctl.h"""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
"""linux/sockios.h, linux/if.h"""

# fmt: off
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK",
    "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN",
    "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE",
    "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
# fmt: on
"""linux/capability.h; a capability's number is its index."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def _check(result: int, attempt: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{attempt}: {os.strerror(number)}")


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move this thread into the namespace behind `fd`."""
    _check(_libc.setns(fd, kind), f"enter namespace fd {fd}")


def unshare(flags: int = CLONE_NEWNET) -> None:
    """Move this thread into new namespaces."""
    _check(_libc.unshare(flags), f"make a namespace (flags {flags:#x})")


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None),
        f"mount {source} on {target}",
    )


def unmount(target: str) -> None:
    """umount2(2), at once for whoever looks from now on, in the end when nobody uses it any more."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def drop_capabilities(keep: Iterable[str]) -> None:
    """Take every other capability out of the bounding set; at the next exec they are gone for good.

    A process with uid 0 gets at exec what the bounding set still holds (capabilities(7)), so nothing
    else is needed for it. The inheritable and ambient sets are empty in what this is used for.
    """
    kept = {CAPABILITIES.index(name) for name in keep}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(last + 1):
        if number not in kept:
            _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")


def forbid_new_privileges() -> None:
    """No program executed from here on gains rights from a set-uid bit or file capabilities."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")


def loopback_up() -> None:
    """Set `lo` of this thread's network namespace up, as Docker does for a container."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def write_sysctl(name: str, value: str) -> None:
    """Set a sysctl of this thread's network namespace.

    Raises:
        OSError: The kernel has no such setting, or refuses the value; the message says which.
    """
    path = Path("/proc/sys") / name.replace(".", "/")
    try:
        path.write_text(value)
    except OSError as exc:
        raise OSError(exc.errno, f"sysctl {name}={value}: {exc.strerror}") from exc

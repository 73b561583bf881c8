"""A kernel that lacks something, for a process that a test starts: system calls that it refuses."""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
SITE = """
import sys
sys.path.insert(0, {root!r})
from proxy.tests.kernel import refuse_ipv6
refuse_ipv6()
"""
NR_SOCKET = {"x86_64": 41, "aarch64": 198}
"""asm/unistd_64.h, asm-generic/unistd.h"""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
"""linux/prctl.h, linux/seccomp.h"""
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
"""linux/bpf_common.h: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K"""
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
"""linux/seccomp.h"""
NUMBER, FIRST_ARGUMENT = 0, 16
"""Offsets in struct seccomp_data; the argument's lower half, on machines that begin with it."""
_SITES = TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)


@cache
def refusing_ipv6() -> dict[str, str]:
    """Settings for a Python process: `sitecustomize` is read before all else, and takes IPv6 from it."""
    (Path(_SITES.name) / "sitecustomize.py").write_text(SITE.format(root=str(ROOT)))
    return {"PYTHONPATH": _SITES.name}


def refuse_ipv6() -> None:
    """In this process: sockets of IPv6 are refused as by a kernel that was built without it."""
    program = b"".join(
        struct.pack("HBBI", code, when_true, when_false, value)
        for code, when_true, when_false, value in (
            (LOAD, 0, 0, NUMBER),
            (EQUALS, 0, 3, NR_SOCKET[platform.machine()]),
            (LOAD, 0, 0, FIRST_ARGUMENT),
            (EQUALS, 0, 1, socket.AF_INET6),
            (RETURN, 0, 0, ERRNO | errno.EAFNOSUPPORT),
            (RETURN, 0, 0, ALLOW),
        )
    )
    instructions = ctypes.create_string_buffer(program)
    count = len(program) // 8
    header = struct.pack("HxxxxxxP", count, ctypes.addressof(instructions))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "take IPv6 from this process")

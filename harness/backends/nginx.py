"""The HTTP backend: nginx, answering from its configuration alone.

`GET /<bytes>?n=<nonce>` gives one line, `nonce=<nonce> pod=<pod> node=<node> source=<address>:<port>`
(an IPv6 address in brackets), and `<bytes>` bytes of padding. Any size up to `MAX_RESPONSE_BYTES` is
put together from one fragment per decimal digit, so no file, no module and no list of sizes is needed.
Compared with one fixed text per size it costs nothing measurable up to 16 KiB, and 12 us at 64 KiB
(nginx 1.22).
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

PADDING = "x"
DIGITS = 6
MAX_RESPONSE_BYTES = 10**DIGITS - 1

CONNECTIONS = 4096
"""Open at once; nginx reserves the memory at start (about 1 MiB)."""
BACKLOG = 4096
"""Cut to net.core.somaxconn by the kernel; a full accept queue would look like latency."""


def program() -> str:
    """The nginx to run; Debian's lies where an ordinary user's PATH does not look.

    Raises:
        FileNotFoundError: None is installed.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("nginx is not installed; install the Debian package nginx-light")
    return found


def configuration(
    *, pod: str, node: str, state_dir: Path, addresses: Sequence[str], port: int, superuser: bool
) -> str:
    """The configuration file.

    One process and no master, so that it needs no capability (a master of uid 0 insists on changing
    its workers' user) and its CPU time is one process's. Responses leave in one write: tcp_nodelay.

    Args:
        addresses: To listen on, of one family each; an IPv6 source is named in brackets.
        superuser: Whether nginx will run as uid 0, with or without capabilities.
    """
    said = f"nonce=$arg_n pod={pod} node={node}"
    captures = "".join(f"(?<d{k}>[0-9]??)" for k in range(DIGITS - 1, 0, -1)) + "(?<d0>[0-9])"
    padding = "".join(f"$pad{k}" for k in range(DIGITS - 1, -1, -1))
    servers = "\n".join(
        _server(address, port, captures=captures, said=said, padding=padding) for address in addresses
    )
    temp_paths = "\n".join(
        f"    {kind}_temp_path {state_dir}/temporary;"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
{"user root root;" if superuser else "# no user directive: not the superuser"}
daemon off;
master_process off;
pid {state_dir}/nginx.pid;
error_log stderr warn;
pcre_jit on;
events {{
    worker_connections {CONNECTIONS};
}}
http {{
    access_log off;
    default_type text/plain;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 1d;
    keepalive_time 1d;
    keepalive_requests 2000000000;
{temp_paths}
    map_hash_bucket_size 2048;
{_fragments()}
{servers}
    server {{
        listen unix:{status_socket(state_dir)};
        location = /stub_status {{
            stub_status;
        }}
    }}
}}
"""


def _server(address: str, port: int, *, captures: str, said: str, padding: str) -> str:
    bound, source = address, "$remote_addr"
    if ":" in address:
        bound, source = f"[{address}]", "[$remote_addr]"
    return f"""\
    server {{
        listen {bound}:{port} backlog={BACKLOG};
        location ~ "^/{captures}$" {{
            return 200 "{said} source={source}:$remote_port\\n{padding}";
        }}
        location / {{
            return 404 "expected GET /<bytes>?n=<nonce> with bytes from 0 to {MAX_RESPONSE_BYTES}\\n";
        }}
    }}"""


def _fragments() -> str:
    """One map per digit: from the digit to that many times its unit. nginx reads words up to 4 KiB."""
    unit = PADDING
    lines = []
    for place in range(DIGITS):
        lines.append(f"    map $d{place} $pad{place} {{")
        lines.append('        default "";')
        lines += [f'        {digit} "{unit * digit}";' for digit in range(1, 10)]
        lines.append("    }")
        if place < 2:
            unit = unit * 10
        else:
            lines.append(f'    map "" $unit{place + 1} {{ default "{unit * 10}"; }}')
            unit = f"$unit{place + 1}"
    return "\n".join(lines)


def status_socket(state_dir: Path) -> Path:
    """Where nginx answers for its own counters, off every measured link."""
    return state_dir / "status.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """nginx's own counts since its start; a reading counts itself, as one connection and one request."""

    accepted: int
    requests: int

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """Ask the nginx of `state_dir`.

        Raises:
            OSError: It does not answer.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(5.0)
            asking.connect(str(status_socket(state_dir)))
            asking.sendall(b"GET /stub_status HTTP/1.0\r\n\r\n")
            with asking.makefile("rb") as reader:
                return cls.parse(reader.read().decode())

    @classmethod
    def parse(cls, answer: str) -> Self:
        """Read nginx's stub_status page: the line below `server accepts handled requests`."""
        lines = answer.splitlines()
        for heading, values in pairwise(lines):
            if heading.startswith("server accepts handled requests"):
                accepted, _, requests = (int(word) for word in values.split())
                return cls(accepted=accepted, requests=requests)
        raise OSError(f"nginx status: expected a line `server accepts handled requests`, found {answer!r}")

    def since(self, earlier: Self) -> Self:
        """What others did between two readings: the difference without this reading itself."""
        return type(self)(
            accepted=self.accepted - earlier.accepted - 1, requests=self.requests - earlier.requests - 1
        )

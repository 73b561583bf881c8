"""Samples as they leave the load processes: rows of little-endian 64-bit integers.

All times are CLOCK_MONOTONIC in nanoseconds, of the one kernel that everything runs on. A process's rows
begin with the lane's number; `harness.load.split` deals them out, and what is saved has no such column.
"""

from __future__ import annotations

LANE = "lane"
"""What a row begins with as it leaves the process."""

PROBE_FIELDS = (
    "connection",
    "sequence",
    "state",
    "intended_ns",
    "start_ns",
    "connected_ns",
    "sent_ns",
    "first_byte_ns",
    "end_ns",
    "local_port",
    "ok",
)
"""One row per request of a probed connection. `sequence` 0 is the first packet; `state` is the index in
`plan.model.State`; `start_ns` is before connect() for sequence 0, before send() for later ones,
whose `connected_ns` equals it. A time that was not reached is 0, and the row not `ok`."""

REQUEST_FIELDS = ("user", "intended_ns", "start_ns", "first_byte_ns", "end_ns", "bytes", "local_port", "ok")
"""One row per request on a live connection. `intended_ns` equals `start_ns` in a closed loop. `bytes` is the
whole answer, head included. A block's last requests may end after it does; times not reached are 0."""

RTT_FIELDS = ("start_ns", "end_ns", "local_port", "ok")
"""One row per round trip, from before send() to the last byte."""

TRANSFER_FIELDS = ("user", "start_ns", "end_ns", "bytes", "local_port", "ok")
"""One row per stream and block: `bytes` arrived between the block's beginning and the stream's last byte."""

STEP_FIELDS = (*REQUEST_FIELDS, "rate_mhz", "within")
"""As of requests, of a search over rates: the step's rate in millihertz, and whether it held the limit."""

ENDPOINT_FIELDS = (*REQUEST_FIELDS, "endpoint")
"""As of requests, and who answered: a position in the list of endpoints that was asked with, or -1."""

"""Rows of the load processes as data frames: named columns, units in the names, words for codes. Pure."""

from __future__ import annotations

import pandas as pd

from harness.load.client import Rows
from harness.load.records import PROBE_FIELDS, REQUEST_FIELDS, TRANSFER_FIELDS
from harness.plan.model import State

STATES = pd.Index([state.value for state in State])


def probes(rows: Rows) -> pd.DataFrame:
    """One row per request of a probed connection; `state` is a category of words, `ok` is bool.

    Times that were not reached are 0, and such a row is never `ok`.
    """
    frame = _frame(rows, PROBE_FIELDS)
    frame["state"] = pd.Categorical.from_codes(
        rows[:, PROBE_FIELDS.index("state")], categories=pd.Index(STATES)
    )
    return frame


def requests(rows: Rows) -> pd.DataFrame:
    """One row per request on a live connection; `ok` is bool."""
    return _frame(rows, REQUEST_FIELDS)


def transfers(rows: Rows) -> pd.DataFrame:
    """One row per stream and read interval; `ok` is bool."""
    return _frame(rows, TRANSFER_FIELDS)


def _frame(rows: Rows, fields: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(fields))
    frame["ok"] = frame["ok"].astype(bool)
    return frame

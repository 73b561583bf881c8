"""Families of samples as text: OpenMetrics for whoever asks for it, else Prometheus's older form.

Source: OpenMetrics 1.0.0; Prometheus's "Exposition formats" for 0.0.4, where a counter's family has the
suffix `_total` as its samples have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from proxy.background import breathing


class Form(Enum):
    """How samples are written; the value is the content type."""

    OPEN_METRICS = "application/openmetrics-text;charset=utf-8;version=1.0.0"
    PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

    @classmethod
    def accepted(cls, accept: str) -> Form:
        """What a request's `accept` header asks for."""
        kinds = (kind.partition(";")[0].strip().lower() for kind in accept.split(","))
        return cls.OPEN_METRICS if "application/openmetrics-text" in kinds else cls.PROMETHEUS


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name."""

    name: str
    """Without `_total`."""
    kind: str
    """`counter` or `gauge`."""
    help: str
    samples: Iterable[tuple[str, float]]
    """(labels as `written`, value) pairs; no labels twice."""


def written(names: Iterable[str], values: Iterable[str]) -> str:
    """Labels as samples have them: `a="1",b="2"`."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def single(name: str, value: float) -> Family:
    """A family of one sample, by the sample's own name: a counter's ends in `_total`."""
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family(name.removesuffix("_total"), kind, name.replace("_", " "), [("", value)])


def lines(families: Iterable[Family], form: Form) -> Iterator[str]:
    """The text of all, line by line. Takes a breath now and then, where there is traffic beside it."""
    for family in families:
        suffix = "_total" if family.kind == "counter" else ""
        sample = family.name + suffix
        described = family.name if form is Form.OPEN_METRICS else sample
        yield f"# HELP {described} {family.help}\n# TYPE {described} {family.kind}\n"
        for labels, value in breathing(family.samples):
            yield f"{sample}{{{labels}}} {value}\n" if labels else f"{sample} {value}\n"
    if form is Form.OPEN_METRICS:
        yield "# EOF\n"


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value

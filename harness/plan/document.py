"""A plan as JSON types, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Arrivals,
    Cell,
    Configuration,
    Interception,
    Load,
    Path,
    Plan,
    Reuse,
    SameNode,
)
from harness.topology.model import IpFamily

_USUAL = {"streams_per_tunnel": STREAMS_PER_TUNNEL, "window_kib": WINDOW_KIB, "policies": 0, "rtt_ms": 0}


def configuration_to_document(configuration: Configuration) -> dict[str, Any]:
    """A configuration as JSON types, its key beside its factors."""
    return {
        "key": configuration.key,
        "path": configuration.path.value,
        "dataplane": configuration.dataplane,
        "interception": configuration.interception.value,
        "reuse": configuration.reuse.value,
        "same_node": configuration.same_node.value,
        "filler_rules": configuration.filler_rules,
        # absent: IPv4, as in the runs from before there was a choice
        **(
            {"ip_family": configuration.ip_family.value}
            if configuration.ip_family is not IpFamily.IPV4
            else {}
        ),
        # likewise: as ztunnel has it
        **{
            factor: getattr(configuration, factor)
            for factor, usual in _USUAL.items()
            if getattr(configuration, factor) != usual
        },
        **({"twin": True} if configuration.twin else {}),
    }


def configuration_from_document(document: Mapping[str, Any]) -> Configuration:
    """The configuration that a document describes.

    Raises:
        KeyError: A factor is missing.
        ValueError: A factor has no such value.
    """
    return Configuration(
        path=Path(document["path"]),
        dataplane=str(document["dataplane"]),
        interception=Interception(document["interception"]),
        reuse=Reuse(document["reuse"]),
        same_node=SameNode(document["same_node"]),
        filler_rules=int(document["filler_rules"]),
        ip_family=IpFamily(document.get("ip_family", IpFamily.IPV4)),
        **{factor: int(document.get(factor, usual)) for factor, usual in _USUAL.items()},
        twin=bool(document.get("twin", False)),
    )


def load_to_document(load: Load) -> dict[str, Any]:
    """A load as JSON types; what came later is said where it means something, so that an old one stays."""
    usual = {"rate_arrivals": Arrivals.CONSTANT, "workers": 1, "scenarios": {}}
    return {key: value for key, value in asdict(load).items() if key not in usual or value != usual[key]}


def load_from_document(document: Mapping[str, Any]) -> Load:
    """The load that a document describes.

    Raises:
        TypeError: It has other fields than this version knows.
        ValueError: A field has no such value.
    """
    arrivals = Arrivals(document.get("rate_arrivals", Arrivals.CONSTANT))
    return Load(**{**document, "rate_arrivals": arrivals})


def to_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON types: configurations once, cells by their key."""
    configurations = {cell.configuration.key: cell.configuration for cell in plan.cells}
    return {
        "suite": plan.suite,
        "seed": plan.seed,
        "rounds": plan.rounds,
        "predicted_s": plan.predicted_s,
        "load": load_to_document(plan.load),
        "configurations": [configuration_to_document(each) for each in configurations.values()],
        "cells": [
            {
                "index": cell.index,
                "round": cell.round,
                "bout": cell.bout,
                "lane": cell.lane,
                "configuration": cell.configuration.key,
                "name": cell.name,
            }
            for cell in plan.cells
        ],
    }


def from_document(document: Mapping[str, Any]) -> Plan:
    """The plan that a document describes.

    Raises:
        KeyError: Something is missing.
        ValueError: Something has no such value.
        TypeError: The load has other fields than this version knows.
    """
    configurations = {each["key"]: configuration_from_document(each) for each in document["configurations"]}
    return Plan(
        suite=str(document["suite"]),
        seed=int(document["seed"]),
        rounds=int(document["rounds"]),
        load=load_from_document(document["load"]),
        cells=tuple(
            Cell(
                index=int(cell["index"]),
                round=int(cell["round"]),
                bout=int(cell["bout"]),
                lane=int(cell["lane"]),
                configuration=configurations[cell["configuration"]],
            )
            for cell in document["cells"]
        ),
        predicted_s=float(document["predicted_s"]),
    )

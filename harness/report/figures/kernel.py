"""What later packets meet in the kernel: rules per packet over filler rules, conntrack entries per leg."""

from __future__ import annotations

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.kernel import Kernel
from harness.analysis.text import significant, span
from harness.plan.model import Interception
from harness.report import labels
from harness.report.figures._figure import LEVELS, Figure, plot

ORDER = 72


def figures(findings: Findings) -> list[Figure]:
    """Rules per packet where rules were varied, and the conntrack table against its prediction."""
    ordered = [
        findings.kernels[each.key]
        for each in labels.ordered(findings.configurations)
        if each.key in findings.kernels
    ]
    varied = len({each.configuration.filler_rules for each in ordered}) > 1
    return [*([_rules(ordered)] if varied else []), *_conntrack(ordered)]


def _rules(found: list[Kernel]) -> Figure:
    figure = plot(height=360)
    for level in (each for each in Interception if each is not Interception.NONE):
        of_level = [each for each in found if each.configuration.interception is level and each.packets]
        if not of_level:
            continue
        colour, symbol = LEVELS[level]
        figure.add_trace(
            go.Scatter(
                x=[each.configuration.filler_rules for each in of_level],
                y=[each.hits_per_packet + each.walked_per_packet for each in of_level],
                name=labels.LEVELS[level],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 10},
                customdata=[_name(each) for each in of_level],
                hovertemplate="%{y:.4g} rules a packet, %{customdata}<extra></extra>",
            )
        )
    figure.update_xaxes(title={"text": "rules that match nothing, before ours"})
    figure.update_yaxes(title={"text": "rules per packet sent"}, rangemode="tozero")
    return Figure(
        name="kernel-rules",
        section="evidence",
        question="How many rules does a packet meet in the kernel?",
        reading=_reading(found),
        caption="Rules per TCP packet sent in the client's namespace: hits of the rule that sends packets "
        "to the proxy, and the rules that match nothing which stand before it, walked past. Counters of the "
        f"valid cells (n = {span(each.cells for each in found)}), so no interval.",
        plot=figure,
        columns=(
            *("path", "configuration", "filler rules", "rules per packet", "hits per packet"),
            *("hits per connection", "filler rules walked per packet", "packets", "connections", "cells"),
        ),
        rows=tuple(
            (
                each.configuration.path.value,
                labels.configuration(each.configuration),
                each.configuration.filler_rules,
                each.hits_per_packet + each.walked_per_packet,
                each.hits_per_packet,
                each.hits / each.connections if each.connections else None,
                each.walked_per_packet,
                each.packets,
                each.connections,
                each.cells,
            )
            for each in found
        ),
    )


def _conntrack(found: list[Kernel]) -> list[Figure]:
    """Found against predicted, a mark per leg, namespace and configuration: all on the diagonal or not."""
    tracked = [(kernel, each) for kernel in found for each in kernel.entries]
    if not tracked:
        return []
    figure = plot(height=360)
    for level in (Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK):
        points = [(kernel, each) for kernel, each in tracked if kernel.configuration.interception is level]
        if points:
            colour, symbol = LEVELS[level]
            figure.add_trace(
                go.Scatter(
                    x=[each.predicted / kernel.connections for kernel, each in points],
                    y=[each.found / kernel.connections for kernel, each in points],
                    name=labels.LEVELS[level],
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, "size": 10},
                    customdata=[
                        f"{each.leg} at {each.namespace}, {_name(kernel)}" for kernel, each in points
                    ],
                    hovertemplate="%{y:.4g} for %{x:.4g}: %{customdata}<extra></extra>",
                )
            )
    figure.update_xaxes(title={"text": "predicted entries per connection"}, rangemode="tozero")
    figure.update_yaxes(title={"text": "entries found"}, rangemode="tozero")
    wrong = sum(each.found != each.predicted for _, each in tracked)
    bare = [
        each
        for each in found
        if each.configuration.interception is Interception.TPROXY_NOTRACK and not each.entries
    ]
    return [
        Figure(
            name="kernel-conntrack",
            section="evidence",
            question="Does the connection tracking table hold what each level predicts?",
            reading=(
                f"All {len(tracked)} counts are what was predicted"
                if not wrong
                else f"{wrong} of {len(tracked)} counts differ from the prediction"
            )
            + (
                f"; without conntrack the tables stayed empty in {len(bare)} configurations." if bare else "."
            ),
            caption="Entries per connection opened, by leg and namespace: captured outbound and inbound "
            "(destination rewritten), tunnel (one a tunnel), app (not rewritten). Sums over valid cells "
            f"(n = {span(each.cells for each in found)}), taken at the cells' ends "
            "from tables that were empty at their starts.",
            plot=figure,
            columns=(
                *("path", "configuration", "namespace", "leg", "found", "predicted", "connections"),
                *("found per connection", "predicted per connection", "cells"),
            ),
            rows=tuple(
                (
                    kernel.configuration.path.value,
                    labels.configuration(kernel.configuration),
                    each.namespace,
                    each.leg,
                    each.found,
                    each.predicted,
                    kernel.connections,
                    each.found / kernel.connections,
                    each.predicted / kernel.connections,
                    kernel.cells,
                )
                for kernel, each in tracked
            ),
        )
    ]


def _reading(found: list[Kernel]) -> str:
    most = max(each.configuration.filler_rules for each in found)
    parts = []
    for level in (each for each in Interception if each is not Interception.NONE):
        of_level = [
            each
            for each in found
            if each.configuration.interception is level
            and each.configuration.filler_rules == most
            and each.packets
        ]
        if of_level:
            rules = [each.hits_per_packet + each.walked_per_packet for each in of_level]
            low, high = significant(min(rules)), significant(max(rules))
            parts.append(f"{labels.LEVELS[level]} {low if low == high else f'{low} to {high}'}")
    before = f"With {most:,} rules before ours" if most else "With no rules before ours"
    return f"{before}, rules per packet: {'; '.join(parts)}."


def _name(kernel: Kernel) -> str:
    return f"{kernel.configuration.path.value}, {labels.configuration(kernel.configuration)}"

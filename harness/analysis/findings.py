"""`analyse`: from a stored run to everything that the report, the terminal and other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.analysis import bills, breakeven, contrasts, kernel, ledger, proofs, timing
from harness.analysis.answer import Answer, answer, round_trips
from harness.analysis.claims import Claim, Grounds, judge_claims
from harness.analysis.compare import Comparison, Side, Yardstick, as_family, compare
from harness.analysis.control import Control, cold_agreement, control
from harness.analysis.gates import Outcome, Ruling, rule
from harness.analysis.judge import Evaluate, JudgedCell, by_configuration, judge
from harness.analysis.lane_effects import LaneEffect, lane_effects
from harness.analysis.looks import chance_at
from harness.analysis.measures import COSTS, METRICS, OPTIONAL
from harness.analysis.rounds import Measure, over_rounds
from harness.analysis.rtt_model import RttModel, in_cells, rtt_model
from harness.analysis.waterfall import Waterfall, reconciliation, waterfalls
from harness.evidence.model import CellStatus, Check
from harness.evidence.verdict import evaluate
from harness.plan.document import configuration_from_document, configuration_to_document
from harness.plan.model import Configuration
from harness.results.read import StoredRun
from harness.suite.gates import gate

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was found."""

    run: StoredRun
    configurations: tuple[Configuration, ...]
    """As the suite says; twins are no part of it."""
    default: Configuration
    cells: tuple[JudgedCell, ...]
    measures: Mapping[Side, Measure]
    first_packet: tuple[Comparison, ...]
    factors: tuple[Comparison, ...]
    costs: tuple[Comparison, ...]
    """What processes used: the same factors, and first packets against later ones."""
    bills: Mapping[str, bills.Bill]
    """Configuration's key -> who paid for it."""
    kernels: Mapping[str, kernel.Kernel]
    """Configuration's key -> what its packets met in the kernel."""
    control: Control
    lane_effects: tuple[LaneEffect, ...]
    """What each lane does by itself."""
    yardstick: Yardstick
    """What comparisons are held against, but for the noise floor, which is the control's."""
    checks: tuple[Check, ...]
    """Of the run as a whole."""
    proofs: tuple[proofs.Proofs, ...]
    """What each round proved beside its cells' counters."""
    break_even: breakeven.BreakEven | None
    rtt_model: RttModel | None
    """Latency over the distance between the nodes; None where that was not varied."""
    ledgers: Mapping[str, ledger.Ledger]
    """Configuration's key -> its evidence in figures."""
    waterfalls: tuple[Waterfall, ...]
    """First packets cut into phases."""
    claims: tuple[Claim, ...]
    answer: tuple[Answer, ...]
    gates: tuple[Ruling, ...]
    """The suite's thresholds, each with its outcome."""
    timing: Mapping[str, Any]

    @property
    def measured(self) -> tuple[Configuration, ...]:
        """The configurations of the plan, twins included."""
        return tuple(dict.fromkeys(cell.configuration for cell in self.run.plan.cells))

    def measure(self, configuration: Configuration, metric: str) -> Measure | None:
        """A metric of a configuration, None where it does not exist or was not measured."""
        return self.measures.get(Side(configuration=configuration.key, metric=metric))

    def counts(self) -> dict[str, int]:
        """How many cells there are of each kind."""
        statuses = Counter(cell.verdict.status for cell in self.cells)
        return {
            "planned": len(self.run.plan.cells),
            "measured": len(self.cells),
            **{status.value: statuses[status] for status in CellStatus},
            "noisy": sum(cell.verdict.noisy for cell in self.cells),
            "disturbed": sum(cell.verdict.disturbed for cell in self.cells),
            "limited": sum(cell.verdict.limited for cell in self.cells),
        }

    def gates_that(self, outcome: Outcome) -> list[Ruling]:
        """The thresholds that came to an outcome."""
        return [each for each in self.gates if each.outcome is outcome]

    @property
    def invalid(self) -> bool:
        """Whether any cell is invalid, or none can be used."""
        return not any(cell.usable for cell in self.cells) or any(
            cell.verdict.status is CellStatus.INVALID for cell in self.cells
        )

    def document(self) -> dict[str, Any]:
        """What is saved and what `report --json` prints."""
        manifest = self.run.manifest
        return {
            "schema_version": SCHEMA_VERSION,
            "run": {
                "name": manifest.run,
                "folder": str(self.run.folder),
                "status": manifest.status.value,
                "reason": manifest.reason,
                "suite": manifest.suite["name"],
                "suite_hash": manifest.suite_hash,
                "seed": manifest.seed,
                "rounds": self.run.plan.rounds,
                "engine": manifest.engine,
                "engine_reason": manifest.engine_reason,
                "command": list(manifest.command),
                "started": asdict(manifest.started),
                "ended": asdict(manifest.ended) if manifest.ended else None,
            },
            "answer": [each.document() for each in self.answer],
            "gates": [each.document() for each in self.gates],
            "cells": self.counts(),
            "not_valid": [
                {
                    "cell": cell.stored.folder.name,
                    "status": cell.verdict.status.value,
                    "reasons": cell.reasons,
                }
                for cell in self.cells
                if cell.verdict.status is not CellStatus.VALID or cell.verdict.remarks
            ],
            "checks": [check.document() for check in self.checks],
            "proofs": [each.document() for each in self.proofs],
            "control": self.control.document(),
            "lanes": [each.document() for each in self.lane_effects],
            "default": self.default.key,
            "configurations": [configuration_to_document(each) for each in self.configurations],
            "measures": [measure.document() for measure in self.measures.values()],
            "first_packet": [comparison.document() for comparison in self.first_packet],
            "factors": self._by_factor(self.factors),
            "costs": self._by_factor(self.costs),
            "kernel": {key: each.document() for key, each in self.kernels.items()},
            "bills": {key: each.document() for key, each in self.bills.items()},
            "break_even": self.break_even.document() if self.break_even else None,
            "rtt_model": self.rtt_model.document() if self.rtt_model else None,
            "evidence": {key: each.document() for key, each in self.ledgers.items()},
            "waterfalls": [each.document() for each in self.waterfalls],
            "claims": [claim.document() for claim in self.claims],
            "timing": dict(self.timing),
        }

    @staticmethod
    def _by_factor(found: tuple[Comparison, ...]) -> dict[str, Any]:
        names = dict.fromkeys(comparison.factor for comparison in found)
        return {name: [each.document() for each in found if each.factor == name] for name in names}


def yardstick(run: StoredRun) -> Yardstick:
    """What the run's comparisons are held against: its suite's resolution, and what its looks are charged."""
    thresholds = run.manifest.suite["thresholds"]
    measured = max((cell.record.cell.round for cell in run.cells), default=0)
    return Yardstick(
        resolution=resolution(thresholds),
        noise={},
        chance=chance_at(measured, run.manifest.looks),
    )


def resolution(thresholds: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> smallest ratio above 1 that matters, of a suite's thresholds."""
    later = 1 + float(thresholds["later_percent"]) / 100
    return dict.fromkeys(METRICS, 1 + float(thresholds["resolution_percent"]) / 100) | {"steady": later}


def analyse(run: StoredRun, evaluate: Evaluate = evaluate) -> Findings:
    """Analyse a run from its raw files alone.

    Args:
        run: As `harness.results.read.read` returns it.
        evaluate: What judges a cell's evidence.

    Raises:
        Unreadable: The run's topology or suite cannot be read.
    """
    cells = judge(run, evaluate)
    suite = run.manifest.suite
    planned = dict.fromkeys(cell.configuration for cell in run.plan.cells)
    configurations = tuple(
        each
        for each in (configuration_from_document(document) for document in suite["configurations"])
        if each in planned
    )
    default = configuration_from_document(suite["default"])
    measures = {measure.side: measure for measure in over_rounds(cells)}
    values = {side: measure.values for side, measure in measures.items()}
    rounds = {side: measure.per_round for side, measure in measures.items()}
    limited = {side: measure.at_least for side, measure in measures.items() if measure.at_least}
    bare = yardstick(run)

    def compared(
        pairs: Iterable[contrasts.Contrast], noise: Mapping[tuple[str, str], float]
    ) -> tuple[Comparison, ...]:
        families: dict[str, list[Comparison]] = {}
        for pair in pairs:
            if pair.of.metric in {*OPTIONAL, *COSTS} and not {pair.of, pair.against} <= set(values):
                continue
            found = compare(
                factor=pair.factor,
                label=pair.label,
                path=pair.path.value,
                of=pair.of,
                against=pair.against,
                values=values,
                limited=limited,
                yardstick=replace(bare, noise=noise),
            )
            families.setdefault(pair.factor, []).append(found)
        return tuple(each for family in families.values() for each in as_family(family, bare.chance))

    twins = control(compared(contrasts.equal_pairs(list(planned)), {}))
    cold = compared(contrasts.cold_pairs(configurations), twins.noise)
    first_packet = compared(contrasts.first_against_later(configurations), twins.noise)
    factors = compared(contrasts.one_factor_apart(configurations), twins.noise)
    costs = compared(contrasts.costs(configurations), twins.noise)
    ledgers = ledger.ledgers(cells)
    crossing = breakeven.break_even(configurations, values)
    proved = proofs.proofs(cells)
    cut = waterfalls(cells)
    checks = (
        twins.check,
        reconciliation(cut),
        *cold_agreement(cold),
        proofs.nonces_by_round(proved),
    )
    distance = rtt_model([*run.delay, *in_cells(cells)], configurations, rounds)
    return Findings(
        run=run,
        configurations=configurations,
        default=default,
        cells=tuple(cells),
        measures=measures,
        first_packet=first_packet,
        factors=factors,
        costs=costs,
        bills={
            configuration.key: bill
            for configuration, group in by_configuration(cells)
            if (bill := bills.together(configuration, [cell.bills for cell in group if cell.usable])).cells
        },
        kernels=kernel.kernels(cells),
        control=twins,
        lane_effects=lane_effects(cells),
        yardstick=bare,
        checks=checks,
        proofs=proved,
        break_even=crossing,
        rtt_model=distance,
        ledgers=ledgers,
        waterfalls=cut,
        claims=judge_claims(
            Grounds(
                configurations=configurations,
                ledgers=ledgers,
                without=lambda check: ledger.ledgers(cells, but=check),
                measures=measures,
                first_packet=first_packet,
                factors=factors,
                costs=costs,
                break_even=crossing,
                waterfalls=cut,
                rtt_model=distance,
            )
        ),
        answer=(
            *((round_trips(distance),) if distance else ()),
            *answer(configurations, default, first_packet, factors, measures),
        ),
        gates=rule(
            [gate(text) for text in suite["thresholds"].get("gates", ())],
            default,
            measures,
            (*factors, *costs),
        ),
        timing=timing.timing(run, cells),
    )

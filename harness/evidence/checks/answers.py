"""Every answer came from the dialled pod, which saw the client's own address (C6, M23, M33)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge
from harness.topology.model import Pod


def check(case: Case) -> Outcome:
    """No nonce, pod, node or source address was wrong; all answers name the target and the client."""
    source = case.client.address_of(case.configuration.ip_family)
    shown = source if source.version == 4 else f"[{source}]"
    right = [
        f"{target.name}/{target.node if isinstance(target, Pod) else ''}/{shown}" for target in case.targets
    ]
    dialled = " or ".join(right)
    laws: list[Law] = []
    for stage, answers in case.answers.items():
        laws.append(at_least(f"{stage} answers checked", answers.checked, 1, "no answer proves nothing"))
        laws += [
            equal(f"{stage} {kind}", count, 0, f"of {answers.checked} answers")
            for kind, count in sorted(answers.wrong.items())
        ]
        laws += [
            equal(f"{stage} errors {kind}", count, 0, "a failure is no fast answer")
            for kind, count in sorted(answers.errors.items())
        ]
        if not answers.named:
            continue
        elsewhere = {origin: count for origin, count in answers.origins.items() if origin not in right}
        found = sum(answers.origins.get(origin, 0) for origin in right)
        laws.append(equal(f"{stage} answers of {dialled}", found, answers.checked, "all of them"))
        laws += [
            equal(f"{stage} answers of {origin}", count, 0, f"{dialled} was dialled")
            for origin, count in sorted(elsewhere.items())
        ]
    if len(right) > 1:
        for origin in right:
            found = sum(answers.origins.get(origin, 0) for answers in case.answers.values())
            laws.append(at_least(f"answers of {origin}", found, 1, "every endpoint of the service serves"))
    return judge(laws)

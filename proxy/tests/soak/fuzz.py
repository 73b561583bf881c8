"""Mutate what is valid and see that nothing but the answer for bad input comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

SPLICES = (
    b"",
    b"\0",
    b"\xff",
    b"\r\n",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"//",
    b"%00",
    b":",
    b"::",
    b"\xc3\x28",
    b"9" * 40,
)
"""What parsers trip over."""
MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that reads what a peer sends.

    `feed` raises one of `refusals` for what it does not take, and AssertionError where an invariant breaks.
    """

    name: str
    corpus: Sequence[bytes]
    feed: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    joints: Callable[[Random, bytes], bytes] | None = None
    """A mutation of the target's own, which keeps to its format where random bytes would not get far."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run did."""

    target: str
    inputs: int
    refused: int
    seconds: float

    def __str__(self) -> str:
        rate = self.inputs / self.seconds
        return (
            f"{self.target:16} {self.inputs:9} inputs {rate:7.0f}/s {self.refused / self.inputs:5.0%} refused"
        )


class Crash(AssertionError):
    """An input brought out something else than an answer; the message is all one needs to see it again."""


def fuzz(target: Target, *, seconds: float, seed: int) -> Figures:
    """Feed mutated inputs for a while.

    Raises:
        Crash: With the input.
    """
    random = Random(seed)
    began = time.monotonic()
    inputs = refused = 0
    for valid in target.corpus:
        target.feed(valid)  # a corpus that is refused would test the first check alone
    while not inputs or time.monotonic() - began < seconds:
        data = mutated(target, random)
        inputs += 1
        try:
            target.feed(data)
        except target.refusals:
            refused += 1
        except Exception as exc:
            raise Crash(f"{target.name}: {exc!r} for {data!r} (seed {seed})") from exc
    return Figures(target.name, inputs, refused, time.monotonic() - began)


def mutated(target: Target, random: Random) -> bytes:
    """One of the corpus with one to six changes."""
    data = bytearray(random.choice(target.corpus))
    for _ in range(random.randint(1, 6)):
        if target.joints is not None and random.random() < 0.5:
            data = bytearray(target.joints(random, bytes(data)))
        else:
            change(random, data, random.choice(target.corpus))
    return bytes(data[:MAX_BYTES])


def change(random: Random, data: bytearray, other: bytes) -> None:
    """One change in place."""
    at = random.randrange(len(data) + 1)
    until = min(len(data), at + random.choice((1, 1, 2, 4, 16, 256)))
    match random.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1:
            data[at:until] = b""
        case 2:
            data[at:at] = random.choice(SPLICES)
        case 3:
            data[at:until] = random.randbytes(until - at)
        case 4:
            data[at:at] = data[at:until] * random.choice((1, 2, 64))
        case _:
            start = random.randrange(len(other) + 1)
            data[at:until] = other[start : start + 64]

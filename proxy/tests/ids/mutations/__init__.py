"""Guards that can be switched off, one by one, from outside: the product has no flag for it.

One file per part of the proxy, found by name, each with its `MUTATIONS`. mutation: what one is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from proxy.tests.ids.mutations.mutation import Mutation


def known() -> Iterator[Mutation]:
    """Every mutation of every file, in the files' order by name."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "mutation":
            yield from importlib.import_module(f"{__name__}.{module.name}").MUTATIONS

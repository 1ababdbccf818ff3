"""All checks made one after another, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Protocol

from popk.catalogue import list_models
from popk.errors import SettingError
from popk.inference.runs import environment, versions
from popk.qualification.check import KINDS, Check, Outcome, carried_out
from popk.qualification.sources import installed_hashes
from popk.qualification.tables import TABLES, hash_of_table

__all__ = ["Qualification", "checks_of", "qualify"]

_MODULES = ("numerical", "nonlinear", "semantics", "inferential", "deciding", "integrity")


class Listener(Protocol):
    """Told what is about to be done: a check, how many are done, of how many."""

    def __call__(self, check: Check, done: int, total: int) -> None:
        """Take it down."""


@dataclass(frozen=True)
class Qualification:
    """What came of the checks, and of what installation.

    ``versions`` of popk and the libraries its numbers come from; ``environment``: Python, system,
    processor; ``hashes``: SHA-256 of the code by part (comments and layout do not count), of each
    ready-made model (the hash that fits of it carry) and of each reference table.
    """

    outcomes: tuple[Outcome, ...]
    kinds: tuple[str, ...]
    created: str
    seconds: float
    versions: dict[str, str] = field(default_factory=versions)
    environment: dict[str, str | int] = field(default_factory=environment)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def complete(self) -> bool:
        """Whether checks of all kinds were made."""
        return self.kinds == KINDS

    @property
    def words(self) -> str:
        """What may be said of the installation, in a sentence or two."""
        failed = [outcome.check.name for outcome in self.outcomes if not outcome.passed]
        if failed:
            return (
                f"This installation does NOT reproduce the references within tolerance: "
                f"{len(failed)} of {len(self.outcomes)} checks failed ({'; '.join(failed)}). Do "
                "not rely on its results."
            )
        which = "" if self.complete else f"{', '.join(self.kinds)} "
        return f"This installation reproduces the {which}references within tolerance."


def checks_of(only: str | None = None) -> tuple[Check, ...]:
    """The checks that come with popk, or those of one kind.

    Raises
    ------
    SettingError
        When there is no such kind.
    """
    if only is not None and only not in KINDS:
        raise SettingError(f"There are no checks called {only!r}; give one of {', '.join(KINDS)}.")
    modules = (import_module(f"popk.qualification.{name}") for name in _MODULES)
    every: list[Check] = [check for module in modules for check in module.CHECKS]
    return tuple(check for check in every if only in (None, check.kind))


def qualify(
    only: str | None = None,
    *,
    progress: Listener | None = None,
    told: Callable[[Outcome], None] | None = None,
) -> Qualification:
    """Compare this installation of popk with the references that come with it.

    Nothing outside the installed package is read, and nothing is written but a damaged file in a
    temporary folder, which is removed.

    Parameters
    ----------
    only
        One of ``numerical``, ``inferential``, ``decision`` and ``integrity``; all if None.
    progress
        Called before each check.
    told
        Called with the outcome of each.

    Returns
    -------
    What came of every check. A check that cannot be made has failed.

    Raises
    ------
    SettingError
        When there is no such kind of checks.
    """
    began, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    checks = checks_of(only)
    outcomes = []
    for k, check in enumerate(checks):
        if progress is not None:
            progress(check, k, len(checks))
        outcomes.append(carried_out(check))
        if told is not None:
            told(outcomes[-1])
    kinds = KINDS if only is None else (only,)
    return Qualification(
        tuple(outcomes), kinds, created, time.perf_counter() - began, hashes=_hashes(checks)
    )


def _hashes(checks: Sequence[Check]) -> dict[str, dict[str, str]]:
    return {
        "code": installed_hashes(),
        "models": {model.name: model.hash for model in list_models()},
        "tables": {name: hash_of_table(name) for name in TABLES},
    }

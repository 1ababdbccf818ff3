"""Progress of long work: what is reported, and how it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ChainReport", "Listener", "Progress", "Report", "Reporter", "shown"]

_SETTLED = 0.5  # seconds of a stage before its end is foreseen


@dataclass(frozen=True, kw_only=True)
class ChainReport:
    """One chain: ``done`` of ``total`` draws (those to tune included), divergences, ESS so far.

    ``ess`` is the least bulk effective sample size of the population parameters; None while it
    cannot be said.
    """

    done: int
    total: int
    divergences: int = 0
    tuning: bool = False
    ess: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is going on.

    Parameters
    ----------
    stage
        In words.
    done, total
        What is done of it and all there is: draws, proposals kept or rounds; 0 where not known.
    divergences
        So far.
    made
        Proposals made so far, of which ``done`` were kept (`Marginal`).
    ess
        Effective sample size so far: for NUTS the least one of the population parameters, for
        `Marginal` that of the proposals' weights; None where it is not known.
    seconds_left
        Time left of the stage, from its speed so far; None where it is not known.
    chains
        Each chain by itself, where chains are drawn.
    """

    stage: str
    done: int = 0
    total: int = 0
    divergences: int = 0
    made: int = 0
    ess: float | None = None
    seconds_left: float | None = None
    chains: tuple[ChainReport, ...] = ()

    @property
    def share(self) -> float | None:
        """Effective share of the proposals made, or None."""
        return self.ess / self.made if self.ess is not None and self.made else None

    def note(self) -> str:
        """Divergences, proposals, ESS and time left in words; empty where nothing is known."""
        parts = [f"{self.divergences} divergences"] if self.divergences else []
        parts += [f"kept of {self.made}"] if self.made else []
        if self.ess is not None:
            share = f" ({100 * self.share:.0f} %)" if self.share is not None else ""
            parts.append(f"ESS {self.ess:.0f}{share}")
        if self.seconds_left is not None:
            parts.append(f"{_clock(self.seconds_left)} left")
        return ", ".join(parts)


type Listener = Callable[[Report], None]
"""Given a report whenever something has been done."""


class Progress(Protocol):
    """Told by a method what it does."""

    def __call__(
        self,
        stage: str,
        done: int = 0,
        total: int = 0,
        divergences: int = 0,
        *,
        made: int = 0,
        ess: float | None = None,
        chains: tuple[ChainReport, ...] = (),
    ) -> None:
        """As the fields of `Report`."""


class Reporter:
    """Makes reports of what it is told, with the time left, and hands them on.

    Parameters
    ----------
    listener
        Given each report.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._stage, self._since, self._first = "", 0.0, 0

    def __call__(
        self,
        stage: str,
        done: int = 0,
        total: int = 0,
        divergences: int = 0,
        *,
        made: int = 0,
        ess: float | None = None,
        chains: tuple[ChainReport, ...] = (),
    ) -> None:
        """Report; the parameters are the fields of `Report`."""
        now = time.perf_counter()
        if stage != self._stage:
            self._stage, self._since, self._first = stage, now, done
        passed, moved = now - self._since, done - self._first
        known = 0 < done < total and moved > 0 and passed > _SETTLED
        left = (total - done) * passed / moved if known else None
        self._listener(
            Report(
                stage=stage, done=done, total=total, divergences=divergences, made=made, ess=ess,
                seconds_left=left, chains=chains,
            )
        )  # fmt: skip


@contextmanager
def shown(progress: bool | Listener, console: Console | None = None) -> Iterator[Reporter]:
    """A reporter that shows progress (True), shows nothing (False) or calls a function."""
    if callable(progress):
        yield Reporter(progress)
    elif progress:
        from popk.inference.display import terminal_progress

        with terminal_progress(console) as listener:
            yield Reporter(listener)
    else:
        yield Reporter(lambda _: None)


def _clock(seconds: float) -> str:
    """A duration in words: 42 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

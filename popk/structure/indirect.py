"""Indirect responses: the drug acts on the production or the loss of what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder
from popk.structure.base import Output, Parameter, Structure
from popk.structure.compartments import TwoCompartment
from popk.structure.response import DirectEffect, WithEffect

__all__ = ["IndirectResponse", "examples"]

_KINDS = (
    "inhibit production",
    "inhibit loss",
    "stimulate production",
    "stimulate loss",
)


@dataclass(frozen=True)
class IndirectResponse(WithEffect):
    """A response that the body produces and loses, and the drug inhibits or stimulates either.

    ``dR/dt = KOUT (BASE - R)`` without drug; BASE is the baseline, KIN/KOUT in the literature. With
    ``I = IMAX c / (IC50 + c)`` and ``S = SMAX c / (SC50 + c)`` the four kinds are::

        inhibit production     dR/dt = KOUT (BASE (1 - I) - R)
        inhibit loss           dR/dt = KOUT (BASE - (1 - I) R)
        stimulate production   dR/dt = KOUT (BASE (1 + S) - R)
        stimulate loss         dR/dt = KOUT (BASE - (1 + S) R)

    The compartments are those of `pk`, then ``response``, which holds the deviation R - BASE (0
    before the first dose and after a reset) and takes no doses. The outputs are those of `pk`, then
    ``response``, which is R. An inhibition that can be complete has ``Fixed(1.0)`` for IMAX.

    Source: Dayneka, Garg & Jusko, J Pharmacokinet Biopharm 1993;21:457-478; with IMAX, Sharma &
    Jusko, J Pharmacokinet Biopharm 1996;24:611-635.

    Parameters
    ----------
    pk
        The structure of the concentrations; its parameters come first, then BASE and KOUT, and its
        doses and its tolerance are those of the whole.
    kind
        One of the four above.
    driver
        Name of the output of `pk` that has the effect; None: its first.
    unit
        Unit of the response and of BASE (``"%"``, ``"ng/mL"``, ``"10*9/L"``).

    Raises
    ------
    SettingError
        When a part is of another kind, the unit is unknown, or two parts name a parameter or an
        output alike.
    """

    kind: str = _KINDS[0]

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            listed = ", ".join(repr(kind) for kind in _KINDS)
            raise SettingError(
                f"IndirectResponse was given kind={self.kind!r}; expected one of {listed}."
            )
        self.check()

    @property
    def _inhibits(self) -> bool:
        return self.kind.startswith("inhibit")

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        acts = (
            Parameter("IMAX", "1", "largest inhibition, at most 1", 0.8),
            Parameter("IC50", "concentration", "concentration of half the inhibition", 2.5),
        ) if self._inhibits else (
            Parameter("SMAX", "1", "largest stimulation", 3.0),
            Parameter("SC50", "concentration", "concentration of half the stimulation", 2.5),
        )  # fmt: skip
        return (
            *self.pk.kinetics,
            Parameter("BASE", self.dimension, "response without drug", 20.0),
            Parameter("KOUT", "1/time", "loss rate constant of the response", 0.3),
            *acts,
        )

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return (*self.pk.compartments, "response")

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        return (*self.pk.outputs, Output("response", self.dimension, "response"))

    @property
    @override
    def deviations(self) -> tuple[str, ...]:
        return (*self.pk.deviations, "response")

    @property
    @override
    def undosed(self) -> tuple[str, ...]:
        return (*self.pk.undosed, "response")

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        c = self.concentration(t, a, p)
        change = -p.IMAX * c / (p.IC50 + c) if self._inhibits else p.SMAX * c / (p.SC50 + c)
        if self.kind.endswith("production"):
            drive = p.BASE * change
        else:
            drive = -change * (p.BASE + a.response)
        return (*self.pk.rates(t, a, p), p.KOUT * (drive - a.response))

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (*self.pk.read(t, a, p), p.BASE + a.response)


def examples() -> tuple[Structure, ...]:
    """The four kinds, and one beside a direct effect."""
    linear = TwoCompartment(FirstOrder())
    return (
        *(IndirectResponse(linear, kind) for kind in _KINDS),
        IndirectResponse(DirectEffect(linear), "stimulate loss", unit="ng/mL"),
    )

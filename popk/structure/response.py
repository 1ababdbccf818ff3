"""Effects of a drug, on top of any structure for its concentrations.

Effects and responses are in units of their own, which the units of the data do not name: their
parameters are given as pure numbers. Observations of an effect are chosen by DVID: it is the last
output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, override

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder
from popk.structure.base import Output, Parameter, Structure
from popk.structure.checks import check_names, check_part
from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.smooth import hill
from popk.structure.target_mediated import TargetMediated

__all__ = [
    "DirectEffect",
    "EffectCompartment",
    "Emax",
    "OnTop",
    "Response",
    "SigmoidEmax",
    "examples",
]

_PK = "a structure such as OneCompartment()"
_EMAX = Parameter("EMAX", "1", "largest effect", 90.0)
_EC50 = Parameter("EC50", "concentration", "concentration of half the largest effect", 2.5)
_E0 = Parameter("E0", "1", "effect without drug", 5.0)


class Response(ABC):
    """Effect of a concentration. Concrete ones are frozen dataclasses."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""

    @abstractmethod
    def effect(self, c: Any, p: Any) -> Any:
        """Effect at the concentration c."""


@dataclass(frozen=True, slots=True)
class Emax(Response):
    """``EMAX c / (EC50 + c)``: occupancy, receptor saturation.

    Parameters
    ----------
    baseline
        Whether E0 is added, the effect without drug.
    """

    baseline: bool = False

    def __post_init__(self) -> None:
        check_part(self, "baseline", bool, "True or False")

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (*((_E0,) if self.baseline else ()), _EMAX, _EC50)

    @override
    def effect(self, c: Any, p: Any) -> Any:
        rise = p.EMAX * c / (p.EC50 + c)
        return p.E0 + rise if self.baseline else rise


@dataclass(frozen=True, slots=True)
class SigmoidEmax(Response):
    """``EMAX c**HILL / (EC50**HILL + c**HILL)`` (Hill 1910).

    Parameters
    ----------
    baseline
        Whether E0 is added, the effect without drug.
    """

    baseline: bool = False

    def __post_init__(self) -> None:
        check_part(self, "baseline", bool, "True or False")

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        steepness = Parameter("HILL", "1", "steepness of the effect", 1.5)
        return (*((_E0,) if self.baseline else ()), _EMAX, _EC50, steepness)

    @override
    def effect(self, c: Any, p: Any) -> Any:
        rise = p.EMAX * hill(c / p.EC50, p.HILL)
        return p.E0 + rise if self.baseline else rise


@dataclass(frozen=True)
class OnTop(Structure):
    """A structure for an effect: that of the concentrations, and what follows from one of them."""

    pk: Structure
    driver: str | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Refuse what does not fit together, and take the doses as they are in `pk`."""
        check_part(self, "pk", Structure, _PK)
        object.__setattr__(self, "dosing", self.pk.dosing)
        given = self.driver
        names = [output.name for output in self.pk.outputs]
        if given is not None and given not in names:
            raise SettingError(
                f"{type(self).__name__} was given driver={given!r}; expected one of the outputs of "
                f"{type(self.pk).__name__}: {', '.join(names)}."
            )
        check_names(self)

    def concentration(self, t: Any, a: Any, p: Any) -> Any:
        """The output of `pk` that drives the effect."""
        names = [output.name for output in self.pk.outputs]
        place = 0 if self.driver is None else names.index(self.driver)
        return self.pk.read(t, a, p)[place]

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return self.pk.compartments

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return self.pk.rates(t, a, p)

    @property
    @override
    def is_stiff(self) -> bool:
        return self.pk.is_stiff

    @property
    @override
    def tolerance(self) -> float:
        return self.pk.tolerance

    @property
    @override
    def deviations(self) -> tuple[str, ...]:
        return self.pk.deviations

    @property
    @override
    def zero_order(self) -> tuple[int, ...]:
        return self.pk.zero_order


@dataclass(frozen=True)
class DirectEffect(OnTop):
    """An effect that follows the concentration at once.

    The outputs are those of `pk`, then ``effect``. The amounts are those of `pk`, and so is their
    closed form.

    Source: Holford & Sheiner, Clin Pharmacokinet 1981;6:429-453.

    Parameters
    ----------
    pk
        The structure of the concentrations; its parameters come first.
    response
        `Emax` or `SigmoidEmax`.
    driver
        Name of the output of `pk` that has the effect (``"free_concentration"``); None: its first.

    Raises
    ------
    SettingError
        When a part is of another kind, or two parts name a parameter or an output alike.
    """

    response: Response = field(default_factory=Emax)

    def __post_init__(self) -> None:
        check_part(self, "response", Response, "one such as Emax() or SigmoidEmax()")
        self.check()

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        return (*self.pk.kinetics, *self.response.parameters)

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        return (*self.pk.outputs, Output("effect", "1", "effect"))

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        effect = self.response.effect(self.concentration(t, a, p), p)
        return (*self.pk.read(t, a, p), effect)

    @property
    @override
    def closed_form(self) -> tuple[int, bool] | None:
        return self.pk.closed_form

    @property
    @override
    def is_linear(self) -> bool:
        return self.pk.is_linear


@dataclass(frozen=True)
class EffectCompartment(OnTop):
    """An effect that follows the concentration with a delay: ``dCe/dt = KE0 (c - Ce)``.

    The compartments are those of `pk`, then ``effect``, which holds the concentration Ce and takes
    no doses. The outputs are those of `pk`, then ``effect``.

    Source: Sheiner et al., Clin Pharmacol Ther 1979;25:358-371.

    Parameters
    ----------
    pk
        The structure of the concentrations; its parameters come first, then KE0.
    response
        `Emax` or `SigmoidEmax`, of Ce.
    driver
        Name of the output of `pk` that has the effect; None: its first.

    Raises
    ------
    SettingError
        When a part is of another kind, or two parts name a parameter or an output alike.
    """

    response: Response = field(default_factory=Emax)

    def __post_init__(self) -> None:
        check_part(self, "response", Response, "one such as Emax() or SigmoidEmax()")
        self.check()

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        delay = Parameter("KE0", "1/time", "rate constant of the effect compartment", 0.5)
        return (*self.pk.kinetics, delay, *self.response.parameters)

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return (*self.pk.compartments, "effect")

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        return (*self.pk.outputs, Output("effect", "1", "effect"))

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        c = self.concentration(t, a, p)
        return (*self.pk.rates(t, a, p), p.KE0 * (c - a.effect))

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (*self.pk.read(t, a, p), self.response.effect(a.effect, p))

    @property
    @override
    def is_linear(self) -> bool:
        return self.pk.is_linear


def examples() -> tuple[Structure, ...]:
    """Each effect on structures with and without a closed form."""
    linear = TwoCompartment(FirstOrder())
    saturable = OneCompartment(elimination=ParallelMichaelisMenten())
    responses = (Emax(), SigmoidEmax(), SigmoidEmax(baseline=True))
    return (
        *(DirectEffect(linear, response) for response in responses),
        DirectEffect(saturable, Emax(baseline=True)),
        DirectEffect(TargetMediated(), driver="free_concentration"),
        EffectCompartment(linear, SigmoidEmax()),
        EffectCompartment(saturable),
    )

"""Effects of a drug, on top of any structure for its concentrations.

Effects and responses are in a unit of their own, which the units of the data do not name: it is
declared with them (``unit="%"``), and is that of their parameters too. Observations of an effect
are chosen by DVID: it is the last output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, override

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder
from popk.structure.base import Output, Parameter, Structure
from popk.structure.checks import check_part
from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.layered import Layered
from popk.structure.smooth import hill
from popk.structure.target_mediated import TargetMediated
from popk.units import UnitError, Units

__all__ = [
    "DirectEffect",
    "Effect",
    "EffectCompartment",
    "Emax",
    "Response",
    "SigmoidEmax",
    "WithEffect",
    "examples",
]

_PK = "a structure such as OneCompartment()"
_RESPONSE = "one such as Emax() or SigmoidEmax()"
_UNITS = Units("d", "mg", "mg/L")
# Of parameters of a response: in the unit of the effect, which the structure knows.
_EFFECT = "effect"
_EMAX = Parameter("EMAX", _EFFECT, "largest effect", 90.0)
_EC50 = Parameter("EC50", "concentration", "concentration of half the largest effect", 2.5)
_E0 = Parameter("E0", _EFFECT, "effect without drug", 5.0)
_HILL = Parameter("HILL", "1", "steepness of the effect", 1.5)


class Response(ABC):
    """Effect of a concentration. Concrete ones are frozen dataclasses."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters; the dimension of those in the unit of the effect is ``"effect"``."""

    @abstractmethod
    def effect(self, c: Any, p: Any) -> Any:
        """Effect at the concentration c."""


@dataclass(frozen=True, slots=True)
class _Saturable(Response):
    """An effect that rises to EMAX, from nothing or from E0."""

    further: ClassVar[tuple[Parameter, ...]] = ()
    """Its parameters besides E0, EMAX and EC50."""

    baseline: bool = False

    def __post_init__(self) -> None:
        check_part(self, "baseline", bool, "True or False")

    @abstractmethod
    def share(self, c: Any, p: Any) -> Any:
        """The effect as a part of EMAX, 0 to 1."""

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (*((_E0,) if self.baseline else ()), _EMAX, _EC50, *self.further)

    @override
    def effect(self, c: Any, p: Any) -> Any:
        rise = p.EMAX * self.share(c, p)
        return p.E0 + rise if self.baseline else rise


@dataclass(frozen=True, slots=True)
class Emax(_Saturable):
    """``EMAX c / (EC50 + c)``: occupancy, receptor saturation.

    Parameters
    ----------
    baseline
        Whether E0 is added, the effect without drug.

    Raises
    ------
    SettingError
        When baseline is something else.
    """

    @override
    def share(self, c: Any, p: Any) -> Any:
        return c / (p.EC50 + c)


@dataclass(frozen=True, slots=True)
class SigmoidEmax(_Saturable):
    """``EMAX c**HILL / (EC50**HILL + c**HILL)`` (Hill 1910).

    Parameters
    ----------
    baseline
        Whether E0 is added, the effect without drug.

    Raises
    ------
    SettingError
        When baseline is something else.
    """

    further: ClassVar[tuple[Parameter, ...]] = (_HILL,)

    @override
    def share(self, c: Any, p: Any) -> Any:
        return hill(c / p.EC50, p.HILL)


@dataclass(frozen=True)
class WithEffect(Layered):
    """A structure for an effect: that of the concentrations, and what follows from one of them."""

    driver: str | None = field(default=None, kw_only=True)
    unit: str = field(default="1", kw_only=True)

    def check(self) -> None:
        """Refuse what does not fit together, and take the doses as they are in `pk`."""
        check_part(self, "pk", Structure, _PK)
        given = self.driver
        names = [output.name for output in self.pk.outputs]
        if given is not None and given not in names:
            raise SettingError(
                f"{type(self).__name__} was given driver={given!r}; expected one of the outputs of "
                f"{type(self.pk).__name__}: {', '.join(names)}."
            )
        try:
            _UNITS.of(self.dimension)
        except UnitError as fault:
            raise SettingError(
                f"{type(self).__name__} was given unit={self.unit!r}. {fault}"
            ) from None
        self.check_layers()

    @property
    def dimension(self) -> str:
        """Dimension of the effect, in the words of `popk.units.Units.of`."""
        return f"effect in {self.unit}"

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


@dataclass(frozen=True)
class Effect(WithEffect):
    """What `DirectEffect` and `EffectCompartment` share: the effect as the last output."""

    response: Response = field(default_factory=Emax)

    def __post_init__(self) -> None:
        check_part(self, "response", Response, _RESPONSE)
        self.check()

    @property
    def _of_response(self) -> tuple[Parameter, ...]:
        """Parameters of the response, with the effect's unit."""
        return tuple(
            replace(parameter, dimension=self.dimension)
            if parameter.dimension == _EFFECT
            else parameter
            for parameter in self.response.parameters
        )

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        return (*self.pk.outputs, Output("effect", self.dimension, "effect"))


@dataclass(frozen=True)
class DirectEffect(Effect):
    """An effect that follows the concentration at once.

    The outputs are those of `pk`, then ``effect``. The amounts are those of `pk`, and so is their
    closed form.

    Source: Holford & Sheiner, Clin Pharmacokinet 1981;6:429-453.

    Parameters
    ----------
    pk
        The structure of the concentrations; its parameters come first, and its doses and its
        tolerance are those of the whole.
    response
        `Emax` or `SigmoidEmax`.
    driver
        Name of the output of `pk` that has the effect (``"free_concentration"``); None: its first.
    unit
        Unit of the effect, of EMAX and of E0 (``"%"``, ``"{score}"``, ``"mm[Hg]"``).

    Raises
    ------
    SettingError
        When a part is of another kind, the unit is unknown, or two parts name a parameter or an
        output alike.
    """

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        return (*self.pk.kinetics, *self._of_response)

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        effect = self.response.effect(self.concentration(t, a, p), p)
        return (*self.pk.read(t, a, p), effect)

    @property
    @override
    def closed_form(self) -> tuple[int, bool] | None:
        return self.pk.closed_form


@dataclass(frozen=True)
class EffectCompartment(Effect):
    """An effect that follows the concentration with a delay: ``dCe/dt = KE0 (c - Ce)``.

    The compartments are those of `pk`, then ``effect``, which holds the concentration Ce and takes
    no doses. The outputs are those of `pk`, then ``effect``.

    Source: Sheiner et al., Clin Pharmacol Ther 1979;25:358-371.

    Parameters
    ----------
    pk
        The structure of the concentrations; its parameters come first, then KE0, and its doses and
        its tolerance are those of the whole.
    response
        `Emax` or `SigmoidEmax`, of Ce.
    driver
        Name of the output of `pk` that has the effect; None: its first.
    unit
        Unit of the effect, of EMAX and of E0 (``"%"``, ``"{score}"``, ``"mm[Hg]"``).

    Raises
    ------
    SettingError
        When a part is of another kind, the unit is unknown, or two parts name a parameter or an
        output alike.
    """

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        delay = Parameter("KE0", "1/time", "rate constant of the effect compartment", 0.5)
        return (*self.pk.kinetics, delay, *self._of_response)

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return (*self.pk.compartments, "effect")

    @property
    @override
    def undosed(self) -> tuple[str, ...]:
        return (*self.pk.undosed, "effect")

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        c = self.concentration(t, a, p)
        return (*self.pk.rates(t, a, p), p.KE0 * (c - a.effect))

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (*self.pk.read(t, a, p), self.response.effect(a.effect, p))


def examples() -> tuple[Structure, ...]:
    """Each effect on structures with and without a closed form."""
    linear = TwoCompartment(FirstOrder())
    saturable = OneCompartment(elimination=ParallelMichaelisMenten())
    responses = (Emax(), SigmoidEmax(), SigmoidEmax(baseline=True))
    return (
        *(DirectEffect(linear, response) for response in responses),
        DirectEffect(saturable, Emax(baseline=True), unit="%"),
        DirectEffect(TargetMediated(), driver="free_concentration"),
        EffectCompartment(linear, SigmoidEmax()),
        EffectCompartment(saturable),
    )

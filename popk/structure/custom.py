"""A structure whose equations a user writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any, override

from popk.errors import SettingError
from popk.structure.base import TOLERANCE, Dosing, Output, Parameter, Structure
from popk.structure.checks import check_dosing, check_names, check_part, check_tolerance
from popk.structure.equations import Equations
from popk.structure.functions import exp
from popk.structure.symbolic import trace
from popk.units import UnitError, Units

__all__ = ["Custom", "examples"]

type Rule = Callable[[Any, Any, Any], Sequence[Any]] | Equations

_UNITS = Units("d", "mg", "mg/L")


@dataclass(frozen=True, init=False, repr=False)
class Custom(Structure):
    """Equations of one's own, written for one subject.

    The functions are called when the structure is made, and what they compute is kept: it is part
    of the model's identity, is stored with it, and needs no Python source when read back. Numbers
    that a function takes from outside are fixed from then on. Equations use ``+ - * / **`` and
    `exp`, `log`, `sqrt`, `power`, `where_positive` and `larger` of `popk.structure.functions`; a
    Python ``if`` on a value is refused.

    All amounts start at 0, and are 0 after a reset. Hold what has a baseline as its deviation from
    it, and add the baseline where it is read. Name the compartments that hold no drug (``undosed``
    or ``deviations``): what the solver resolves there follows from the equations, elsewhere from
    the dose. An output that divides by an amount is no number before the first dose, and is refused
    there.

    Parameters
    ----------
    name
        For tables and errors.
    parameters
        Those of the equations; those that ``dosing`` adds need not be listed.
    compartments
        Names; a dose's CMT counts them from 1.
    outputs
        What can be observed; the first is meant where the data do not say.
    rates
        ``rates(t, a, p)``: the rates of change (amount/time) of the compartments, in their order;
        amounts are ``a.central``, parameters ``p.CL``.
    read
        ``read(t, a, p)``: the outputs, in their order.
    dosing
        Which properties of the doses are parameters.
    deviations
        Names of the compartments that hold a deviation from a baseline and may fall below zero.
    stiff
        Whether time scales lie so far apart that the implicit solver is the better one.
    tolerance
        Relative error, 1e-12 to 1e-2, that the solver may make in each amount in each step.
    undosed
        Names of the compartments that hold no drug: doses into them are refused.

    Raises
    ------
    SettingError
        When names are unknown, unused or given twice, or the functions do what equations cannot.

    Examples
    --------
    >>> from popk.structure.base import Output, Parameter
    >>> Custom(
    ...     "bolus",
    ...     parameters=(Parameter("CL", "volume/time", "clearance"),
    ...                 Parameter("V", "volume", "volume")),
    ...     compartments=("central",),
    ...     outputs=(Output("concentration", "concentration", "concentration", 1),),
    ...     rates=lambda t, a, p: (-p.CL * a.central / p.V,),
    ...     read=lambda t, a, p: (a.central / p.V,),
    ... )
    Custom('bolus', CL V: d(central)/dt = ((-CL) * central) / V; concentration = central / V)
    """

    name: str
    stiff: bool
    dosing: Dosing
    _kinetics: tuple[Parameter, ...]
    _compartments: tuple[str, ...]
    _outputs: tuple[Output, ...]
    _deviations: tuple[str, ...]
    _rates: Equations
    _read: Equations
    tolerance: float = field(default=TOLERANCE, kw_only=True)
    _undosed: tuple[str, ...] = field(default=(), kw_only=True)

    def __init__(  # noqa: PLR0913 - one argument for each part of a structure
        self,
        name: str,
        *,
        parameters: Iterable[Parameter],
        compartments: Iterable[str],
        outputs: Iterable[Output],
        rates: Rule,
        read: Rule,
        dosing: Dosing | None = None,
        deviations: Iterable[str] = (),
        stiff: bool = False,
        tolerance: float = TOLERANCE,
        undosed: Iterable[str] = (),
    ) -> None:
        self._set("name", name)
        self._set("stiff", stiff)
        self._set("dosing", Dosing() if dosing is None else dosing)
        check_part(self, "name", str, "a text")
        check_part(self, "stiff", bool, "True or False")
        check_part(self, "dosing", Dosing, "Dosing(...), for example Dosing(lag=(1,))")
        given = self._all_of("parameters", parameters, Parameter, "Parameter(...)")
        own = tuple(p for p in given if p not in self.dosing.parameters)
        self._set("_kinetics", own)
        self._set("_compartments", self._all_of("compartments", compartments, str, "a name"))
        self._set("_outputs", self._all_of("outputs", outputs, Output, "Output(...)"))
        self._set("_deviations", self._some("deviations", deviations))
        self._set("_undosed", self._some("undosed", undosed))
        self._set("tolerance", tolerance)
        check_tolerance(self)
        check_names(self)
        self._check_words()
        check_dosing(self)
        changes = tuple(f"d({compartment})/dt" for compartment in self._compartments)
        seen = tuple(output.name for output in self._outputs)
        self._set("_rates", self._equations("rates", rates, changes))
        self._set("_read", self._equations("outputs", read, seen))
        self._check_use()

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _all_of[T](
        self, field: str, given: Iterable[T], kind: type[T], wanted: str
    ) -> tuple[T, ...]:
        plain = isinstance(given, str) or not isinstance(given, Iterable)
        parts: tuple[T, ...] = () if plain else tuple(given)
        if plain or not parts or not all(isinstance(part, kind) for part in parts):
            raise SettingError(
                f"Custom {self.name!r} was given {field}={given!r}; expected one or more, each "
                f"{wanted}, in a tuple."
            )
        return parts

    def _some(self, field: str, given: Iterable[str]) -> tuple[str, ...]:
        names = (given,) if isinstance(given, str) else tuple(given)
        unknown = [name for name in names if name not in self._compartments]
        if unknown:
            raise SettingError(
                f"Custom {self.name!r} was given {field}={given!r}; expected names of its "
                f"compartments: {', '.join(self._compartments)}."
            )
        return names

    def _check_words(self) -> None:
        for parameter in self._kinetics:
            if re.fullmatch(r"[A-Z][A-Z0-9_]*", parameter.name) is None:
                raise SettingError(
                    f"Custom {self.name!r} was given a parameter named {parameter.name!r}; "
                    "expected capitals, digits and underscores, as in CL or KA1."
                )
        for name in (*self._compartments, *(output.name for output in self._outputs)):
            if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None or iskeyword(name):
                raise SettingError(
                    f"Custom {self.name!r} was given {name!r} to name a compartment or an output; "
                    "expected small letters, digits and underscores, as in central, and no word "
                    "of Python's own."
                )
        dimensions = [(part.name, part.dimension) for part in self._kinetics]
        dimensions += [(part.name, part.dimension) for part in self._outputs]
        for name, dimension in dimensions:
            try:
                _UNITS.of(dimension)
            except UnitError as fault:
                raise SettingError(f"Custom {self.name!r}, {name}: {fault}") from None
        for output in self._outputs:
            if output.compartment not in (None, *range(1, len(self._compartments) + 1)):
                raise SettingError(
                    f"Custom {self.name!r} was given the output {output.name} with compartment "
                    f"{output.compartment!r}; expected a number from 1 to "
                    f"{len(self._compartments)}, or None."
                )

    def _equations(self, what: str, rule: Rule, results: tuple[str, ...]) -> Equations:
        place = f"The {what} of Custom {self.name!r}"
        parameters = tuple(parameter.name for parameter in self._kinetics)
        if not isinstance(rule, Equations):
            return trace(
                rule,
                place=place,
                compartments=self._compartments,
                parameters=parameters,
                results=results,
            )
        unknown = sorted(
            (rule.names("a") - set(self._compartments)) | (rule.names("p") - set(parameters))
        )
        if unknown or len(rule.results) != len(results):
            raise SettingError(
                f"{place} were given as {len(rule.results)} equations that use "
                f"{', '.join(unknown) or 'known names only'}; expected {len(results)} that use the "
                f"compartments {', '.join(self._compartments)} and the parameters "
                f"{', '.join(parameters)}."
            )
        return rule

    def _check_use(self) -> None:
        used = self._rates.names("p") | self._read.names("p")
        idle = [parameter.name for parameter in self._kinetics if parameter.name not in used]
        if idle:
            raise SettingError(
                f"The equations of Custom {self.name!r} do not use the parameter"
                f"{'s' if len(idle) > 1 else ''} {', '.join(idle)}. Use or remove it."
            )

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        return self._kinetics

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return self._compartments

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        return self._outputs

    @property
    @override
    def deviations(self) -> tuple[str, ...]:
        return self._deviations

    @property
    @override
    def undosed(self) -> tuple[str, ...]:
        return self._undosed

    @property
    @override
    def rates(self) -> Equations:
        """The equations of the rates: a value that is called with (t, a, p)."""
        return self._rates

    @property
    @override
    def read(self) -> Equations:
        """The equations of the outputs: a value that is called with (t, a, p)."""
        return self._read

    @property
    @override
    def is_stiff(self) -> bool:
        return self.stiff

    @property
    def equations(self) -> tuple[str, ...]:
        """The equations as text, one in each line."""
        changes = [f"d({compartment})/dt" for compartment in self._compartments]
        seen = [output.name for output in self._outputs]
        return (*self._rates.lines(changes), *self._read.lines(seen))

    def __repr__(self) -> str:
        settings = [repr(self.name), " ".join(parameter.name for parameter in self._kinetics)]
        settings += [repr(self.dosing)] if self.dosing != Dosing() else []
        settings += [f"deviations={self._deviations}"] if self._deviations else []
        settings += [f"undosed={self._undosed}"] if self._undosed else []
        settings += ["stiff=True"] if self.stiff else []
        settings += [f"tolerance={self.tolerance!r}"] if self.tolerance != TOLERANCE else []
        return f"Custom({', '.join(settings)}: {'; '.join(self.equations)})"


def _autoinduction() -> Custom:
    """Elimination by an enzyme that the drug induces; the enzyme as its excess over 1."""

    def rates(t: Any, a: Any, p: Any) -> tuple[Any, ...]:
        c = a.central / p.V
        induced = p.SMAX * c / (p.SC50 + c)
        return (-p.KA * a.depot, p.KA * a.depot - p.CL * (1 + a.enzyme) * c,
                p.KENZ * (induced - a.enzyme))  # fmt: skip

    def read(t: Any, a: Any, p: Any) -> tuple[Any, ...]:
        return a.central / p.V, 1 + a.enzyme

    return Custom(
        "autoinduction",
        parameters=(
            Parameter("CL", "volume/time", "clearance before induction", 0.2),
            Parameter("V", "volume", "volume of distribution", 3.5),
            Parameter("KA", "1/time", "first-order absorption rate constant", 0.6),
            Parameter("SMAX", "1", "largest induction", 1.5),
            Parameter("SC50", "concentration", "concentration of half the induction", 5.0),
            Parameter("KENZ", "1/time", "turnover rate constant of the enzyme", 0.1),
        ),
        compartments=("depot", "central", "enzyme"),
        outputs=(
            Output("concentration", "concentration", "concentration", 2),
            Output("enzyme", "1", "enzyme relative to its baseline", 3),
        ),
        rates=rates,
        read=read,
        dosing=Dosing(bioavailability=(1,)),
        deviations=("enzyme",),
        undosed=("enzyme",),
    )


def _fading() -> Custom:
    """Clearance that fades with the time and with the concentration."""

    def rates(t: Any, a: Any, p: Any) -> tuple[Any, ...]:
        c = a.central / p.V
        size = p.CL * (1.0 + p.FALL * exp(-p.KDES * t))
        return (-size * c / (1.0 + (c / p.C50) ** p.SLOPE),)

    def read(t: Any, a: Any, p: Any) -> tuple[Any, ...]:
        return (a.central / p.V,)

    return Custom(
        "fading clearance",
        parameters=(
            Parameter("CL", "volume/time", "clearance in the end", 0.4),
            Parameter("V", "volume", "volume of distribution", 3.5),
            Parameter("FALL", "1", "relative excess of clearance at time 0", 0.5),
            Parameter("KDES", "1/time", "rate constant at which the excess vanishes", 0.1),
            Parameter("C50", "concentration", "concentration that halves clearance", 20.0),
            Parameter("SLOPE", "1", "steepness of the saturation", 1.5),
        ),
        compartments=("central",),
        outputs=(Output("concentration", "concentration", "concentration", 1),),
        rates=rates,
        read=read,
    )


def examples() -> tuple[Structure, ...]:
    """Structures that the library has no other form of."""
    return _autoinduction(), _fading()

"""Units of a data set, written as UCUM strings.

popk never converts a user's numbers silently: it stores the unit beside the number and
derives from the three basic units (time, amount, concentration) every unit a parameter needs.
Unit codes follow the Unified Code for Units of Measure (UCUM, ucum.org).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import MappingProxyType

from popk.errors import PopkError

__all__ = ["UnitError", "Units", "conversion", "rescaled", "seconds_in"]


class UnitError(PopkError):
    """A unit that is unknown, missing, or does not fit the others."""


_SECOND = Fraction(1)
_TIME = MappingProxyType(
    {
        "s": _SECOND,
        "min": Fraction(60),
        "h": Fraction(3600),
        "d": Fraction(86_400),
        "wk": Fraction(604_800),
        "mo": Fraction(2_629_800),  # UCUM's mean Julian month, 30.4375 d
        "a": Fraction(31_557_600),  # UCUM's mean Julian year, 365.25 d
    }
)
# (kind, size in g, mol, U or [iU])
_AMOUNT = MappingProxyType(
    {
        "kg": ("mass", Fraction(1000)),
        "g": ("mass", Fraction(1)),
        "mg": ("mass", Fraction(1, 10**3)),
        "ug": ("mass", Fraction(1, 10**6)),
        "ng": ("mass", Fraction(1, 10**9)),
        "pg": ("mass", Fraction(1, 10**12)),
        "mol": ("substance", Fraction(1)),
        "mmol": ("substance", Fraction(1, 10**3)),
        "umol": ("substance", Fraction(1, 10**6)),
        "nmol": ("substance", Fraction(1, 10**9)),
        "pmol": ("substance", Fraction(1, 10**12)),
        "kU": ("enzyme units", Fraction(1000)),
        "U": ("enzyme units", Fraction(1)),
        "mU": ("enzyme units", Fraction(1, 10**3)),
        "k[iU]": ("international units", Fraction(1000)),
        "[iU]": ("international units", Fraction(1)),
        "m[iU]": ("international units", Fraction(1, 10**3)),
    }
)
_VOLUME = MappingProxyType(
    {
        "L": Fraction(1),
        "dL": Fraction(1, 10),
        "mL": Fraction(1, 10**3),
        "uL": Fraction(1, 10**6),
    }
)
_PLAIN_VOLUMES = ("L", "dL", "mL")
_LENGTH = MappingProxyType({"m": Fraction(1), "cm": Fraction(1, 100), "mm": Fraction(1, 1000)})
# What a table may hold, to be converted; popk itself reckons in none of them.
_CUSTOMARY = MappingProxyType(
    {
        "[lb_av]": ("mass", Fraction(45_359_237, 10**5)),
        "[in_i]": ("length", Fraction(254, 10**4)),
    }
)
_AREA = MappingProxyType({"m2": Fraction(1), "cm2": Fraction(1, 10**4)})
# Units met in clinical covariates that are not built from the tables above.
_OTHER = (
    "mL/min/{1.73_m2}",
    "kg/m2",
    "mmol/mol",
    "mosm/kg",
    "Cel",
    "mm[Hg]",
    "/min",
    "10*9/L",
    "10*12/L",
)
_WORDS = MappingProxyType(
    {
        **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
        **dict.fromkeys(("mins", "minute", "minutes"), "min"),
        **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
        **dict.fromkeys(("day", "days"), "d"),
        **dict.fromkeys(("week", "weeks"), "wk"),
        **dict.fromkeys(("month", "months"), "mo"),
        **dict.fromkeys(("y", "yr", "yrs", "year", "years"), "a"),
        **dict.fromkeys(("kgs", "kilogram", "kilograms"), "kg"),
        **dict.fromkeys(("lb", "lbs", "pound", "pounds"), "[lb_av]"),
        **dict.fromkeys(("in", "inch", "inches"), "[in_i]"),
        **dict.fromkeys(("gram", "grams"), "g"),
        **dict.fromkeys(("milligram", "milligrams"), "mg"),
        **dict.fromkeys(("mcg", "microgram", "micrograms"), "ug"),
        **dict.fromkeys(("nanogram", "nanograms"), "ng"),
        **dict.fromkeys(("iu", "[iu]"), "[iU]"),
        **dict.fromkeys(("kiu", "k[iu]"), "k[iU]"),
        **dict.fromkeys(("miu", "m[iu]"), "m[iU]"),
        **dict.fromkeys(("l", "liter", "liters", "litre", "litres"), "L"),
        **dict.fromkeys(("ml", "milliliter", "milliliters", "millilitre", "millilitres"), "mL"),
        "dl": "dL",
        "ul": "uL",
        **dict.fromkeys(("dimensionless", "unitless", "none", "-"), "1"),
    }
)
_MOLAR = MappingProxyType({f"{prefix}M": f"{prefix}mol/L" for prefix in ("", "m", "u", "n", "p")})

_KNOWN = MappingProxyType(
    {
        "time": ", ".join(_TIME),
        "amount": ", ".join(_AMOUNT),
        "concentration": (
            f"an amount ({', '.join(_AMOUNT)}) over a volume ({', '.join(_VOLUME)}), "
            "for example mg/L, ug/mL or ng/mL"
        ),
        "covariate": (
            f"1 (no unit), %, {', '.join(_AMOUNT)}, {', '.join(_LENGTH)}, {', '.join(_AREA)}, "
            f"{', '.join(_TIME)}, a concentration such as g/L, a flow such as mL/min, "
            f"{', '.join(_OTHER)}, or a label in braces such as {{score}}"
        ),
    }
)
_DIMENSIONS = (
    "time",
    "amount",
    "concentration",
    "volume",
    "volume/time",
    "amount/time",
    "1/time",
    "concentration/time",
    "1/(concentration*time)",
    "1",
)
_EFFECT = "effect in "  # and a unit of its own


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a data set: time, amount, concentration and one unit per covariate.

    Every string is UCUM; plain words (``"days"``, ``"mcg/mL"``) are normalised to it.
    Dimensionless covariates have the unit ``"1"``.

    Raises
    ------
    UnitError
        When a unit is unknown; the sentence names the key, the value and the known units.
    """

    time: str
    amount: str
    concentration: str
    covariates: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", _known_time("time", self.time))
        object.__setattr__(self, "amount", _known_amount(self.amount))
        object.__setattr__(self, "concentration", _known_concentration(self.concentration))
        pairs = tuple((name, _known_covariate(name, unit)) for name, unit in self.covariates)
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise UnitError(f"The covariate {name} is given a unit twice. Give it once.")
        object.__setattr__(self, "covariates", pairs)

    @classmethod
    def parse(cls, given: Mapping[str, str] | Units) -> Units:
        """Units from a mapping: ``time``, ``amount``, ``concentration``; other keys: covariates.

        Raises
        ------
        UnitError
            When one of the three basic units is missing or any unit is unknown.
        """
        if isinstance(given, Units):
            return given
        if not isinstance(given, Mapping):
            raise UnitError(
                f"units is {given!r}; give a mapping such as "
                '{"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}.'
            )
        basic = ("time", "amount", "concentration")
        missing = [key for key in basic if key not in given]
        if missing:
            raise UnitError(
                f"units does not say the unit of {' and '.join(missing)}. Add it, for example "
                '{"time": "d", "amount": "mg", "concentration": "mg/L"}.'
            )
        covariates = tuple((name, unit) for name, unit in given.items() if name not in basic)
        return cls(given["time"], given["amount"], given["concentration"], covariates)

    def to_dict(self) -> dict[str, str]:
        """The mapping that :meth:`parse` reads back to equal units."""
        basic = {"time": self.time, "amount": self.amount, "concentration": self.concentration}
        return basic | dict(self.covariates)

    @property
    def litres(self) -> float | None:
        """Litres in one amount unit over one concentration unit (mg and ng/mL: 1000.0).

        None when the two do not measure the same kind (mg and nmol/L).
        """
        ratio = self._volume_ratio()
        return None if ratio is None else float(ratio)

    @property
    def volume(self) -> str:
        """The volume unit that amount over concentration gives (mg and mg/L: ``"L"``).

        Raises
        ------
        UnitError
            When they give no plain volume unit; the sentence says which units would fit.
        """
        ratio = self._volume_ratio()
        for unit in _PLAIN_VOLUMES:
            if ratio == _VOLUME[unit]:
                return unit
        found = (
            "measure different kinds of quantity"
            if ratio is None
            else f"give volumes in steps of {float(ratio):g} L"
        )
        raise UnitError(
            f"Amounts in {self.amount} and concentrations in {self.concentration} {found}, so "
            f"volumes would have no plain unit. {self._fitting()}"
        )

    def of(self, dimension: str) -> str:
        """The unit of a dimension, for example ``of("volume/time") == "L/d"``.

        Known dimensions: time, amount, concentration, volume, volume/time, amount/time,
        1/time, concentration/time, 1/(concentration*time), 1, and an effect in a unit of its own
        (``"effect in %"``).
        """
        match dimension:
            case "time" | "amount" | "concentration" | "volume":
                return str(getattr(self, dimension))
            case "volume/time" | "amount/time" | "concentration/time":
                return f"{self.of(dimension.removesuffix('/time'))}/{self.time}"
            case "1/time":
                return f"1/{self.time}"
            case "1/(concentration*time)":
                above, below = self.concentration.split("/")
                return f"{below}/{above}/{self.time}"
            case "1":
                return "1"
            case _ if dimension.startswith(_EFFECT):
                return _known_unit("an effect", dimension.removeprefix(_EFFECT))
        raise UnitError(
            f"{dimension!r} is not a dimension popk knows; it knows {', '.join(_DIMENSIONS)} and, "
            'in a unit of its own, for example "effect in %".'
        )

    def covariate(self, name: str) -> str | None:
        """The unit of a covariate, None when none is declared."""
        return dict(self.covariates).get(name)

    def time_in(self, unit: str) -> float:
        """How many of these time units one `unit` is: with hours, ``time_in("wk") == 168``."""
        return _times(unit if isinstance(unit, str) else _known_time("unit", unit), self.time)

    def concentration_in(self, unit: str) -> float | None:
        """How many of these concentration units one `unit` is: with mg/L 1000 of g/L.

        None when the two do not measure the same kind (mg/L and mol/L).
        """
        (kind, size), (other, own) = map(_measure, (_known_concentration(unit), self.concentration))
        return float(size / own) if kind == other else None

    def same_scale(self, other: Units) -> list[str]:
        """Sentences saying where two sets of units differ in scale; empty when they agree.

        mg/L and ug/mL are the same scale. Covariates count only when both declare them.
        """
        pairs = [(key, getattr(self, key), getattr(other, key)) for key in _DIMENSIONS[:3]]
        theirs = dict(other.covariates)
        pairs += [(name, unit, theirs[name]) for name, unit in self.covariates if name in theirs]
        return [
            f"{key} is in {mine} on one side and in {its} on the other."
            for key, mine, its in pairs
            if _measure(mine) != _measure(its)
        ]

    def _volume_ratio(self) -> Fraction | None:
        kind, size = _AMOUNT[self.amount]
        above, below = self.concentration.split("/")
        if _AMOUNT[above][0] != kind:
            return None
        return size * _VOLUME[below] / _AMOUNT[above][1]

    def _fitting(self) -> str:
        """A sentence naming units that would fit."""
        kind, size = _AMOUNT[self.amount]
        above, below = self.concentration.split("/")
        wanted, density = _AMOUNT[above][0], _AMOUNT[above][1] / _VOLUME[below]
        volumes = [_VOLUME[v] for v in ("L", "mL")]
        amounts = [u for u, (k, s) in _AMOUNT.items() if k == wanted and s / density in volumes]
        concentrations = [
            f"{u}/{v}"
            for u, (k, s) in _AMOUNT.items()
            for v in ("L", "mL")
            if k == kind and size * _VOLUME[v] / s in volumes
        ]
        return (
            f"Give amounts in {' or '.join(amounts)}, or concentrations in "
            f"{', '.join(concentrations)}, and convert the numbers to match."
        )


def rescaled(unit: str, factor: float) -> str | None:
    """The known unit `factor` times as large: ``rescaled("mg/L", 1000) == "g/L"``; None without.

    Of amounts, and of concentrations, whose volume stays.
    """
    amount, slash, volume = unit.partition("/")
    if amount not in _AMOUNT:
        return None
    kind, size = _AMOUNT[amount]
    wanted = float(size) * factor
    for name, (other, its) in _AMOUNT.items():
        if other == kind and abs(float(its) / wanted - 1) < 1e-9:
            return f"{name}{slash}{volume}"
    return None


def seconds_in(unit: str) -> int:
    """The seconds in a known unit of time."""
    return int(_TIME[_known_time("unit", unit)])


def conversion(given: str, wanted: str, *, molar_mass: float | None = None) -> Fraction:
    """What a number in the unit `given` is multiplied by to be in the unit `wanted`, exactly.

    Parameters
    ----------
    given, wanted
        Units of popk, in any spelling that `Units` knows; `given` also pounds and inches.
    molar_mass
        In g/mol, for what goes from mass to amount of substance or back.

    Raises
    ------
    UnitError
        When one measures another kind of quantity than the other, or the molar mass is missing or
        makes no sense.
    """
    spelt = _text("the data", given, "covariate")
    old = spelt if spelt in _CUSTOMARY else _known_unit("the data", given)
    new = _known_unit("the data", wanted)
    (kind, size), (other, own) = _measure(old), _measure(new)
    if kind == other:
        return size / own
    swapped = {"mass": "substance", "substance": "mass"}
    first, slash, rest = kind.partition("/")
    if first not in swapped or f"{swapped[first]}{slash}{rest}" != other:
        raise UnitError(
            f"{old} cannot be converted to {new}: it measures another kind of quantity."
        )
    if molar_mass is None or not 0 < molar_mass < float("inf"):
        raise UnitError(
            f"{old} can be converted to {new} with the molar mass alone; "
            + ("give molar_mass, in g/mol." if molar_mass is None else f"{molar_mass!r} is none.")
        )
    grams = Fraction(str(molar_mass))
    return size / own * (grams if first == "substance" else 1 / grams)


def _normal(value: str) -> str:
    """A unit string in UCUM spelling where the spelling is a known alias."""
    text = re.sub(r"\s+", "", value.replace("\u00b5", "u").replace("\u03bc", "u"))
    if text in _MOLAR:
        return _MOLAR[text]
    if text in _OTHER or text.startswith("{"):
        return text
    # A number (1/min, 10*9/L) and an annotation stay as they are.
    return "/".join(_WORDS.get(part.lower(), part) for part in text.split("/"))


def _measure(unit: str) -> tuple[str, Fraction]:
    """Kind of quantity and size of a known unit; what has no table is a kind of its own."""
    for kind, table in (("time", _TIME), ("length", _LENGTH), ("area", _AREA)):
        if unit in table:
            return kind, table[unit]
    if unit in _AMOUNT:
        return _AMOUNT[unit]
    if unit in _CUSTOMARY:
        return _CUSTOMARY[unit]
    if unit in _VOLUME:
        return "volume", _VOLUME[unit]
    if unit in ("1", "%"):
        return "number", Fraction(1, 100) if unit == "%" else Fraction(1)
    if unit not in _OTHER and unit.count("/") == 1:
        above, below = unit.split("/")
        if above and below:
            (kind, size), (per, base) = _measure(above), _measure(below)
            return f"{kind}/{per}", size / base
    return unit, Fraction(1)


def _refuse(key: str, value: object, known: str, candidate: str = "") -> UnitError:
    units = {unit.lower(): unit for unit in (*_TIME, *_AMOUNT, *_VOLUME, *_LENGTH)}
    parts = [units.get(part.lower()) for part in candidate.split("/")] if candidate else [None]
    guess = "/".join(part or "" for part in parts)
    hint = f" Did you mean {guess}?" if None not in parts and guess != candidate else ""
    return UnitError(f"The unit of {key} is {value!r}, which popk does not know.{hint} {known}")


def _text(key: str, value: object, known: str) -> str:
    if not isinstance(value, str):
        raise _refuse(key, value, f"Units are text. Known units: {_KNOWN[known]}.")
    return _normal(value)


@cache
def _times(unit: str, own: str) -> float:
    """How many of its own time units one ``unit`` is."""
    return float(_TIME[_known_time("unit", unit)] / _TIME[own])


def _known_time(key: str, value: object) -> str:
    unit = _text(key, value, "time")
    if unit not in _TIME:
        raise _refuse(key, value, f"Known units: {_KNOWN['time']}.", unit)
    return unit


def _known_amount(value: object) -> str:
    unit = _text("amount", value, "amount")
    if unit not in _AMOUNT:
        raise _refuse("amount", value, f"Known units: {_KNOWN['amount']}.", unit)
    return unit


def _known_concentration(value: object) -> str:
    unit = _text("concentration", value, "concentration")
    above, _, below = unit.partition("/")
    if above not in _AMOUNT or below not in _VOLUME:
        known = f"Known units: {_KNOWN['concentration']}."
        raise _refuse("concentration", value, known, unit)
    return unit


def _known_covariate(name: object, value: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UnitError(f"{name!r} cannot name a covariate; use a text such as 'WT'.")
    return _known_unit(f"the covariate {name}", value)


def _known_unit(key: str, value: object) -> str:
    """The unit of something that has one of its own."""
    unit = _text(key, value, "covariate")
    parts = unit.split("/")
    tables = (*_TIME, *_AMOUNT, *_VOLUME, *_LENGTH, *_AREA)
    built = all(part in tables for part in parts) and len(parts) <= 2
    label = re.fullmatch(r"\{[^{}]+\}", unit) is not None
    if not (built or label or unit in ("1", "%") or unit in _OTHER):
        raise _refuse(key, value, f"Known units: {_KNOWN['covariate']}.", unit)
    return unit

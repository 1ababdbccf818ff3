"""From ADVAN and TRANS, or $DES, to a structure of popk and what its parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from popk.nonmem.evaluation import names_in, symbol
from popk.nonmem.refusal import NonmemError
from popk.structure import (
    Dosing,
    FirstOrder,
    Linear,
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    Structure,
    ThreeCompartment,
    TwoCompartment,
)

__all__ = ["Kinetics", "Micro", "micro_constants", "structure_of"]

# Whether there is a depot, and how many peripheral compartments.
LINEAR = MappingProxyType(
    {
        "ADVAN1": (False, 0),
        "ADVAN2": (True, 0),
        "ADVAN3": (False, 1),
        "ADVAN4": (True, 1),
        "ADVAN11": (False, 2),
        "ADVAN12": (True, 2),
    }
)
_KINDS = (OneCompartment, TwoCompartment, ThreeCompartment)
# Names of popk, by the number of peripheral compartments: central volume, flows, volumes.
_NAMES = (("V", ()), ("V1", (("Q", "V2"),)), ("V1", (("Q2", "V2"), ("Q3", "V3"))))


@dataclass(frozen=True)
class Micro:
    """Rates of flow between compartments, as expressions.

    ``peripherals`` are (out of central, back); ``saturable`` is VMAX (amount/time) and KM as an
    amount; ``elimination`` None where it is saturable alone. ``order`` has NONMEM's number of each
    of popk's compartments.
    """

    absorption: Any
    elimination: Any
    peripherals: tuple[tuple[Any, Any], ...]
    saturable: tuple[Any, Any] | None
    order: tuple[int, ...]
    names: frozenset[str]

    @property
    def central(self) -> int:
        """NONMEM's number of the central compartment."""
        return self.order[0 if self.absorption is None else 1]


@dataclass(frozen=True)
class Kinetics:
    """A structure, and each of its parameters as an expression of thetas, etas and columns."""

    structure: Structure
    parameters: Mapping[str, Any]
    names: frozenset[str]


class _Reader:
    """Reads variables of $PK, and remembers which."""

    def __init__(self, values: Mapping[str, Any], what: str) -> None:
        self.values, self.what = values, what
        self.used: set[str] = set()

    def __call__(self, name: str) -> Any:
        if name not in self.values:
            raise NonmemError(
                [f"{self.what} needs {name}, which $PK does not define. Define it there."]
            )
        self.used.add(name)
        return self.values[name]


def micro_constants(advan: str, trans: str, values: Mapping[str, Any]) -> Micro:
    """The rate constants of ADVAN1 to 4 and 10 to 12.

    Parameters
    ----------
    advan, trans
        The subroutines.
    values
        Variables of $PK, as expressions.

    Raises
    ------
    NonmemError
        When $PK does not define what they need, or the subroutines do not go together.

    Notes
    -----
    NONMEM Users Guide VI, PREDPP, appendix on TRANS; Gibaldi & Perrier, Pharmacokinetics, 1982.
    """
    get = _Reader(values, f"{advan} {trans}")
    if advan == "ADVAN10":
        saturable = (get("VM"), get("KM"))
        return Micro(None, None, (), saturable, (1,), frozenset(get.used))
    depot, n = LINEAR[advan]
    c = 2 if depot else 1
    rates = (_one, _two, _three)[n](trans, c, get)
    if rates is None:
        raise NonmemError(
            [f"$SUBROUTINES has {advan} with {trans}, which NONMEM does not have. Correct TRANS."]
        )
    elimination, *exchange = rates
    peripherals = tuple(zip(exchange[::2], exchange[1::2], strict=True))
    absorption = get("KA") if depot else None
    order = tuple(range(1, 2 + n + depot))
    return Micro(absorption, elimination, peripherals, None, order, frozenset(get.used))


def _one(trans: str, c: int, get: _Reader) -> tuple[Any, ...] | None:
    match trans:
        case "TRANS1":
            return (get("K"),)
        case "TRANS2":
            return (get("CL") / get("V"),)
    return None


def _two(trans: str, c: int, get: _Reader) -> tuple[Any, ...] | None:
    out, back = f"K{c}{c + 1}", f"K{c + 1}{c}"
    match trans:
        case "TRANS1":
            return get("K"), get(out), get(back)
        case "TRANS3":
            v, q = get("V"), get("Q")
            return get("CL") / v, q / v, q / (get("VSS") - v)
        case "TRANS4":
            v, q = get(f"V{c}"), get("Q")
            return get("CL") / v, q / v, q / get(f"V{c + 1}")
        case "TRANS5" | "TRANS6":
            alpha, beta = get("ALPHA"), get("BETA")
            k21 = get(back) if trans == "TRANS6" else _from_intercepts(alpha, beta, get("AOB"))
            k = alpha * beta / k21
            return k, alpha + beta - k21 - k, k21
    return None


def _from_intercepts(alpha: Any, beta: Any, ratio: Any) -> Any:
    """K21 from the hybrid rate constants and the ratio A/B of their intercepts (TRANS5)."""
    return (ratio * beta + alpha) / (ratio + 1)


def _three(trans: str, c: int, get: _Reader) -> tuple[Any, ...] | None:
    out, back = f"K{c}{c + 1}", f"K{c + 1}{c}"
    out2, back2 = f"K{c}{c + 2}", f"K{c + 2}{c}"
    match trans:
        case "TRANS1":
            return get("K"), get(out), get(back), get(out2), get(back2)
        case "TRANS4":
            v, q, q2 = get(f"V{c}"), get(f"Q{c + 1}"), get(f"Q{c + 2}")
            return get("CL") / v, q / v, q / get(f"V{c + 1}"), q2 / v, q2 / get(f"V{c + 2}")
        case "TRANS6":
            a, b, g, k21, k31 = get("ALPHA"), get("BETA"), get("GAMMA"), get(back), get(back2)
            k = a * b * g / (k21 * k31)
            pairs = a * b + a * g + b * g
            k13 = (pairs + k31 * k31 - k31 * (a + b + g) - k * k21) / (k21 - k31)
            return k, a + b + g - k - k13 - k21 - k31, k21, k13, k31
    return None


def structure_of(
    micro: Micro, volume: Any, values: Mapping[str, Any], doses: Mapping[str, float]
) -> Kinetics:
    """The structure with these rate constants and this volume.

    Parameters
    ----------
    micro
        The rate constants.
    volume
        Amount in the central compartment over the prediction, an expression.
    values
        Variables of $PK.
    doses
        What an amount of the control stream is in popk's unit (under ``amount``).
    """
    import sympy

    # A whole number stays one: 1.0 times a theta would be shown so.
    size = sympy.nsimplify(doses["amount"])
    depot, n = micro.absorption is not None, len(micro.peripherals)
    central, flows = _NAMES[n]
    v = volume * size
    found: dict[str, Any] = {}
    elimination: Any = Linear()
    if micro.elimination is not None:
        found["CL"] = micro.elimination * v
    found[central] = v
    for (flow, other), (out, back) in zip(flows, micro.peripherals, strict=True):
        found[flow], found[other] = out * v, out * v / back
    if micro.saturable is not None:
        vmax, km = micro.saturable
        found["VMAX"], found["KM"] = vmax * size, km / volume
        elimination = ParallelMichaelisMenten() if "CL" in found else MichaelisMenten()
    if depot:
        found["KA"] = micro.absorption
    absorption = FirstOrder() if depot else None
    names = set(micro.names)
    dosing, own = _dosing(micro.order, values, size, names)
    structure = _KINDS[n](absorption, elimination, dosing)
    return Kinetics(structure, found | own, frozenset(names))


def _dosing(
    order: tuple[int, ...], values: Mapping[str, Any], size: Any, names: set[str]
) -> tuple[Dosing, dict[str, Any]]:
    """Lags, bioavailabilities, durations and rates that $PK defines."""
    found: dict[str, dict[int, Any]] = {"F": {}, "ALAG": {}, "D": {}, "R": {}}
    for k, number in enumerate(order, 1):
        for letter, neutral in (("F", 1), ("ALAG", 0), ("D", None), ("R", None)):
            name = f"{letter}{number}"
            if name not in values:
                continue
            names.add(name)
            value = values[name]
            if value.is_number and neutral is not None and float(value) == neutral:
                continue
            found[letter][k] = value * size if letter == "R" else value
    given, complement = found["F"], {}
    for k, value in list(given.items()):
        for other in given:
            if other < k and _is_one(value + given[other]):
                complement[k] = other
                break
    for k in complement:
        del given[k]
    dosing = Dosing(
        tuple(given),
        tuple(found["ALAG"]),
        tuple(found["D"]),
        tuple(found["R"]),
        complement=complement,
    )
    own = {f"{letter}{k}": v for letter, by in found.items() for k, v in by.items()}
    return dosing, own


def _is_one(expression: Any) -> bool:
    import sympy

    return bool(sympy.simplify(expression - 1) == 0)


def scaling(values: Mapping[str, Any], number: int, *, central: bool) -> tuple[Any, str | None]:
    """The scale of a compartment, S2 or SC, and its name; 1 where $PK has none."""
    import sympy

    for name in (f"S{number}", *(("SC",) if central else ())):
        if name in values:
            return values[name], name
    return sympy.Integer(1), None


def amount(number: int) -> Any:
    """The symbol of the amount in a compartment."""
    return symbol(f"A({number})")


def reads_amounts(expression: Any) -> set[int]:
    """Numbers of the compartments whose amounts an expression reads."""
    return {
        int(name[2:-1])
        for name in names_in(expression)
        if name.startswith("A(") and name[2:-1].isdigit()
    }


type _Compartments = Sequence[tuple[str, tuple[str, ...]]]


def default_observed(compartments: _Compartments) -> int:
    """NONMEM's number of the compartment that F reads, from $MODEL (names with their options)."""
    marked = [k for k, (_, options) in enumerate(compartments, 1) if "DEFOBSERVATION" in options]
    marked += [k for k, (name, _) in enumerate(compartments, 1) if name == "CENTRAL"]
    return marked[0] if marked else 1


def default_dosed(compartments: _Compartments, micro: Micro, where: str) -> int:
    """The number in popk of the compartment into which doses without CMT go, from $MODEL.

    Raises
    ------
    NonmemError
        When popk's structure does not have that compartment.
    """
    if not compartments:
        return 1
    numbers = [k for k, (_, options) in enumerate(compartments, 1) if "DEFDOSE" in options]
    numbers += [k for k, (name, _) in enumerate(compartments, 1) if name == "DEPOT"]
    numbers += [k for k, (_, options) in enumerate(compartments, 1) if "NODOSE" not in options]
    if not numbers or numbers[0] not in micro.order:
        raise NonmemError(
            [f"{where}: doses go into a compartment on which the observed one does not rest. Say "
             "with DEFDOSE where doses go."]
        )  # fmt: skip
    return micro.order.index(numbers[0]) + 1

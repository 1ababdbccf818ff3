"""Rates of flow between compartments in $DES, or as ADVAN5 and ADVAN7 name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from popk.nonmem.evaluation import names_in
from popk.nonmem.kinetics import Micro, amount, reads_amounts
from popk.nonmem.refusal import NonmemError

__all__ = ["micro_constants_of", "rates_of", "rates_of_constants"]

_UNKNOWN = (
    "popk recognises one to three compartments with an optional first-order depot and linear, "
    "Michaelis-Menten or parallel elimination. Write other equations as popk.Custom."
)


def rates_of(values: Mapping[str, Any]) -> dict[int, Any]:
    """The right-hand sides of $DES by compartment, from its variables."""
    return {
        int(name[5:-1]): value
        for name, value in values.items()
        if re.fullmatch(r"DADT\(\d+\)", name)
    }


def rates_of_constants(values: Mapping[str, Any], compartments: int) -> dict[int, Any]:
    """Right-hand sides from rate constants K12 or K1T2 (and K10) of ADVAN5 and ADVAN7."""
    import sympy

    found: dict[int, Any] = {k: sympy.Integer(0) for k in range(1, compartments + 1)}
    for name in values:
        matched = re.fullmatch(r"K(\d)(\d)|K(\d+)T(\d+)", name)
        if matched is None:
            continue
        first, second = (int(number) for number in matched.groups() if number is not None)
        if first not in found:
            continue
        flow = sympy.Symbol(name, real=True) * amount(first)
        found[first] -= flow
        if second in found:
            found[second] += flow
    return found


def micro_constants_of(rates: Mapping[int, Any], central: int, where: str) -> Micro:
    """The structure in a set of right-hand sides.

    Parameters
    ----------
    rates
        Right-hand side of each compartment.
    central
        The compartment that is observed.
    where
        For sentences.

    Raises
    ------
    NonmemError
        When it is none that popk has.
    """
    import sympy

    if central not in rates:
        raise NonmemError([f"{where} has no DADT({central}), the compartment that is observed."])
    if any("T" in names_in(rate) for rate in rates.values()):
        raise NonmemError([f"the equations of {where} depend on the time T. {_UNKNOWN}"])
    a = {k: amount(k) for k in rates}
    needed = _needed(rates, central)
    depot: tuple[int, Any] | None = None
    peripherals: list[tuple[int, Any, Any]] = []
    rest = rates[central]
    for k in sorted(needed - {central}):
        own = {j: sympy.diff(rates[k], a[j]) for j in needed}
        linear = sum(own[j] * a[j] for j in needed)
        if any(reads_amounts(x) for x in own.values()) or not _zero(rates[k] - linear):
            raise NonmemError([f"DADT({k}) in {where} is not linear in the amounts. {_UNKNOWN}"])
        others = {j for j in needed if j != k and not _zero(own[j])}
        if not others and depot is None:
            depot = (k, -own[k])
            rest = rest + own[k] * a[k]
        elif others == {central}:
            peripherals.append((k, own[central], -own[k]))
            rest = rest + own[central] * a[central] + own[k] * a[k]
        else:
            raise NonmemError(
                [f"DADT({k}) in {where} is neither a depot nor a peripheral compartment of "
                 f"compartment {central}. {_UNKNOWN}"]
            )  # fmt: skip
    if len(peripherals) > 2:
        raise NonmemError([f"{where} has {len(peripherals)} peripheral compartments. {_UNKNOWN}"])
    elimination, saturable = _elimination(sympy.simplify(-rest), a[central], where, central)
    order = (*((depot[0],) if depot else ()), central, *(k for k, _, _ in peripherals))
    names = {name for k in needed for name in names_in(rates[k]) if not name.startswith("A(")}
    return Micro(
        depot[1] if depot else None,
        elimination,
        tuple((out, back) for _, out, back in peripherals),
        saturable,
        order,
        frozenset(names),
    )


def _needed(rates: Mapping[int, Any], central: int) -> set[int]:
    """The compartments on which the central one rests."""
    found, fresh = {central}, {central}
    while fresh:
        fresh = {j for k in fresh for j in reads_amounts(rates[k]) if j in rates} - found
        found |= fresh
    return found


def _zero(expression: Any) -> bool:
    import sympy

    return bool(sympy.simplify(expression) == 0)


def _elimination(rate: Any, a: Any, where: str, central: int) -> tuple[Any, Any]:
    """Rate constant and (VMAX, KM as an amount) of what leaves the central compartment."""
    import sympy

    refused = NonmemError(
        [f"what leaves compartment {central} in {where} ({rate}) is not recognised. {_UNKNOWN}"]
    )
    if reads_amounts(rate) != {central}:
        raise refused
    above, below = sympy.fraction(sympy.cancel(sympy.together(rate)))
    try:
        n = sympy.Poly(above, a).all_coeffs()[::-1]
        d = sympy.Poly(below, a).all_coeffs()[::-1]
    except sympy.PolynomialError:
        raise refused from None
    n += [sympy.Integer(0)] * (3 - len(n))
    if len(n) > 3 or not _zero(n[0]):
        raise refused
    if len(d) == 1 and _zero(n[2]):
        return n[1] / d[0], None
    if len(d) != 2:
        raise refused
    linear, km = n[2] / d[1], d[0] / d[1]
    vmax = sympy.simplify(n[1] / d[1] - linear * km)
    return (None if _zero(linear) else linear), (vmax, km)

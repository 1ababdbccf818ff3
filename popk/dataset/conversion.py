"""Converting numbers from the units that a table has to those that are wanted, where asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from popk.dataset.records import FloatArray, Records
from popk.units import UnitError, Units, conversion

__all__ = ["Factor", "convert", "factors_of"]

_ONE = Fraction(1)


@dataclass(frozen=True)
class Factor:
    """What the numbers of a kind are multiplied by, and the sentence that says so."""

    by: Fraction
    words: str = ""

    def of(self, values: FloatArray) -> FloatArray:
        """The values in the wanted unit: 9 by 1/1000 is 0.009, not 9 times what 0.001 rounds to."""
        return values * self.by.numerator / self.by.denominator


def factors_of(
    given: Mapping[str, str], units: Units, molar_mass: float | None
) -> dict[str, Factor]:
    """The factor of each kind of number (time, amount, concentration, a covariate) that is given.

    Raises
    ------
    UnitError
        When one is not in `units`, is unknown, or cannot be converted; when a molar mass is given
        that nothing needs.
    """
    wanted = units.to_dict()
    found: dict[str, Factor] = {}
    molar = False
    for name, unit in given.items():
        if name not in wanted:
            raise UnitError(
                f"given says the unit of {name}, which units does not name; it names "
                f"{', '.join(wanted)}."
            )
        try:
            by, needed = _factor(unit, wanted[name], molar_mass)
        except UnitError as fault:
            raise UnitError(f"given says that {name} is in {unit}. {fault}") from fault
        molar |= needed
        words = f"{name} from {unit} to {wanted[name]}, times {_number(by)}"
        words += f" (molar mass {molar_mass:g} g/mol)" if needed else ""
        if by == 1:
            words = f"{name} in {unit}, which is the same as {wanted[name]}"
        found[name] = Factor(by, f"Converted as asked: {words}.")
    if molar_mass is not None and not molar:
        raise UnitError(
            f"molar_mass is {molar_mass:g}, but nothing is converted between mass and amount of "
            "substance. Leave it out, or say the units of the table by given."
        )
    return found


def convert(
    records: Records, factors: Mapping[str, Factor], *, log_dv: bool, timed: bool
) -> tuple[str, ...]:
    """Convert the columns in place; gives a sentence for each kind of number.

    Parameters
    ----------
    records
        The table.
    factors
        From `factors_of`.
    log_dv
        Whether DV holds logarithms.
    timed
        Whether TIME was made of dates, and so is in the wanted unit.
    """
    for name, factor in factors.items():
        columns = {
            "time": ("II",) if timed else ("TIME", "II"),
            "amount": ("AMT",),
            "concentration": ("DV", "LLOQ", "ULOQ"),
        }.get(name, (name,))
        if factor.by == 1:
            continue
        if name == "concentration":
            _refuse_other_outputs(records)
        for column in columns:
            _scale(records, column, factor, log=log_dv and column == "DV")
    # An amount over a time; -1 and -2 are codes.
    amount, time = (factors[name].by if name in factors else _ONE for name in ("amount", "time"))
    _scale(records, "RATE", Factor(amount / time), positive=True)
    return tuple(factor.words for factor in factors.values())


def _factor(given: str, wanted: str, molar_mass: float | None) -> tuple[Fraction, bool]:
    """The factor, and whether it takes the molar mass."""
    try:
        return conversion(given, wanted), False
    except UnitError:
        return conversion(given, wanted, molar_mass=molar_mass), True


def _scale(
    records: Records, name: str, factor: Factor, *, log: bool = False, positive: bool = False
) -> None:
    column = records[name]
    if not column.given or factor.by == 1:
        return
    chosen = column.usable
    if positive:
        chosen = chosen & (np.nan_to_num(column.values) > 0)
    old = column.values[chosen]
    column.values[chosen] = old + np.log(float(factor.by)) if log else factor.of(old)


def _refuse_other_outputs(records: Records) -> None:
    """A factor is that of one kind of output; another may be an effect or a metabolite."""
    outputs = records["DVID"]
    if not outputs.given:
        return
    kinds = sorted(
        {int(value) for value in outputs.values[records.is_observation & outputs.usable]}
    )
    if len(kinds) > 1:
        records.problems.error(
            "Concentrations were to be converted, but DVID names several outputs "
            f"({', '.join(map(str, kinds))}), which may not share a unit.",
            "Convert DV and its limits before reading, and leave concentration out of given.",
            column="DVID",
        )


def _number(by: Fraction) -> str:
    if by.numerator == 1 and by.denominator != 1:
        return f"1/{by.denominator}"
    return f"{float(by):.10g}"

"""Column names of CDISC's ADPPK, taken for those of popk.

ADPPK is the ADaM structure for population PK analyses: Basic Data Structure for ADaM popPK
Implementation Guide, version 1.0 (CDISC, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from popk.dataset.layout import Layout
from popk.dataset.source import MISSING, TextTable
from popk.units import UnitError, Units, conversion

__all__ = ["with_standard_names"]

# popk's name -> those of ADPPK, the first that the table has.
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ID": ("USUBJID", "SUBJID"),
        "TIME": ("AFRLT", "NFRLT"),
        "DV": ("AVAL",),
        "CENS": ("BLQFN", "BLQFL"),
        "LLOQ": ("ALLOQ",),
        "DVID": ("DVIDN",),
    }
)
_NOMINAL = "NFRLT"
_UNITS = MappingProxyType(
    {"concentration": ("DVU", "AVALU"), "amount": ("AMTU", "DOSEU"), "time": ("RLTU", "AFRLTU")}
)
_FLAGS = MappingProxyType({"Y": "1", "N": "0"})


def with_standard_names(
    text: TextTable,
    layout: Layout | None,
    columns: Mapping[str, str],
    units: Units,
    given: Mapping[str, str],
) -> tuple[TextTable, Mapping[str, str]]:
    """The table and the names of its columns, with ADPPK's taken for popk's where it has these.

    What the user named stays. Flags of Y and N become 1 and 0; a DVID of words is not read. Columns
    that hold units are held against what was declared.
    """
    names = layout.names if layout is not None else None
    if (names or ("adppk" if text.kind == "SAS transport" else "nonmem")) != "adppk":
        return text, columns
    own = {name.upper(): name for name in columns}
    text = _without_words(text, "DVID")
    header = [name.upper() for name in text.header]
    found = dict(columns)
    wanted = {**_NAMES, **{name: (f"{name}BL",) for name, _ in units.covariates}}
    for name, others in wanted.items():
        taken = next((other for other in others if other.upper() in header), None)
        if name.upper() in own or name.upper() in header or taken is None:
            continue
        found[name] = text.header[header.index(taken.upper())]
        if taken == _NOMINAL:
            text.problems.warn(
                "TIME is the nominal time NFRLT: there is no AFRLT, the actual time.",
                "Give actual times; nominal ones hide when samples were really taken.",
                column="TIME",
            )
    if "CENS" in found:
        text = _flags_as_numbers(text, header.index(found["CENS"].upper()))
    _check_units(text, units, given)
    mapped = [f"{label} as {name}" for name, label in found.items() if name not in columns]
    note = f"Columns of ADPPK were taken: {', '.join(mapped)}." if mapped else ""
    return replace(text, notes=(*text.notes, *filter(None, [note]))), found


def _without_words(text: TextTable, name: str) -> TextTable:
    """A column of codes under another name where it holds words: ADPPK's DVID does."""
    upper = [label.upper() for label in text.header]
    if name not in upper:
        return text
    at = upper.index(name)
    if all(cell in MISSING or cell.replace(".", "").isdigit() for cell in text.column(at)):
        return text
    header = list(text.header)
    header[at] = f"{header[at]} (words)"
    return replace(text, header=tuple(header))


def _flags_as_numbers(text: TextTable, at: int) -> TextTable:
    cells = tuple(
        (*record[:at], _FLAGS.get(record[at].upper(), record[at]), *record[at + 1 :])
        for record in text.cells
    )
    return replace(text, cells=cells)


def _check_units(text: TextTable, units: Units, given: Mapping[str, str]) -> None:
    """Refuse units that the table's own columns contradict."""
    upper = [label.upper() for label in text.header]
    for what, labels in _UNITS.items():
        label = next((one for one in labels if one in upper), None)
        if label is None or "EVID" not in upper:
            continue
        wanted = "1" if what == "amount" else "0"  # AVALU of a dose record is that of the dose
        events = [cell.partition(".")[0] for cell in text.column(upper.index("EVID"))]
        cells = text.column(upper.index(label))
        said = given.get(what, units.to_dict()[what])
        for unit in sorted({c for e, c in zip(events, cells, strict=True) if e == wanted and c}):
            try:
                same = conversion(unit, said) == 1
            except UnitError:
                same = False
            if not same:
                text.problems.error(
                    f"The column {label} says that {what} is in {unit}, and it was declared to be "
                    f"in {said}.",
                    f"Correct units, or have it converted: given={{'{what}': '{unit}'}} "
                    f"(--given {what}={unit}).",
                    column=label,
                )

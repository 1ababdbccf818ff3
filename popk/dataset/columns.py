"""The columns of an event table: names, meaning, defaults; and how a header is read.

Names and meaning are NONMEM's (NONMEM Users Guide, part IV and V: ID, TIME, EVID, AMT, RATE,
ADDL, II, SS, CMT, DV, MDV); CENS follows Monolix's convention for censored data (1 below a limit,
-1 above one); LLOQ, ULOQ, OCC and DVID are the field's usual names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from popk.dataset.problems import Problems
from popk.units import UnitError, Units

__all__ = ["COLUMNS", "ColumnSpec", "Located", "locate"]


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One standard column: its name, meaning and dimension, and what an absent one means.

    A column that is not `always` there is in a data set only if it is in the table read.
    """

    name: str
    meaning: str
    dimension: str
    required: bool = False
    integer: bool = False
    always: bool = True

    def unit(self, units: Units) -> str:
        """The column's unit, ``"1"`` for codes and counts."""
        return units.of(self.dimension)


_SPECS = (
    ColumnSpec("ID", "subject", "1", required=True),
    ColumnSpec("TIME", "time", "time", required=True),
    ColumnSpec(
        "EVID", "event: 0 no dose, 1 dose, 2 other, 3 reset, 4 reset and dose", "1", True, True
    ),
    ColumnSpec("AMT", "dose", "amount", required=True),
    ColumnSpec(
        "RATE", "infusion rate (0 bolus, -1 modelled rate, -2 modelled duration)", "amount/time"
    ),
    ColumnSpec("ADDL", "additional doses", "1", integer=True),
    ColumnSpec("II", "dosing interval", "time"),
    ColumnSpec("SS", "steady state", "1", integer=True),
    ColumnSpec("CMT", "compartment (0 default)", "1", integer=True),
    ColumnSpec("DV", "concentration", "concentration", required=True),
    ColumnSpec("MDV", "missing dependent variable", "1", integer=True),
    ColumnSpec("CENS", "below (1) or above (-1) the limit of quantification", "1", integer=True),
    ColumnSpec("LLOQ", "lower limit of quantification", "concentration"),
    ColumnSpec("ULOQ", "upper limit of quantification", "concentration", always=False),
    ColumnSpec("OCC", "occasion", "1", integer=True, always=False),
    ColumnSpec("DVID", "output observed", "1", integer=True, always=False),
    ColumnSpec("ASSAY", "assay or laboratory that measured", "1", integer=True, always=False),
)
COLUMNS: Mapping[str, ColumnSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})

_ALIASES: Mapping[str, str] = MappingProxyType({"CENS": "BLQ"})


@dataclass(frozen=True, slots=True)
class Located:
    """Where each column of popk stands in the header, and what is left over.

    `positions` maps popk's name to the position in the header; `labels` to the file's name.
    """

    positions: Mapping[str, int]
    labels: Mapping[str, str]
    unused: tuple[str, ...]


def _key(name: str) -> str:
    """A header name without byte-order mark, surrounding blanks and case."""
    return name.replace("\ufeff", "").strip().upper()


def locate(
    header: Sequence[str],
    units: Units,
    problems: Problems,
    *,
    columns: Mapping[str, str] | None = None,
) -> Located:
    """Find the standard columns and the declared covariates in a header.

    Header names match without regard to case. `columns` maps popk's name to the file's; a
    column so named is used even when the header also holds one under popk's own name.
    Everything wrong is added to `problems`.
    """
    covariates = tuple(name for name, _ in units.covariates)
    _check_covariate_names(covariates, problems)
    wanted = {name: name for name in (*COLUMNS, *covariates)}
    wanted |= _renamed(columns or {}, wanted, header, problems)
    keys = [_key(name) for name in header]
    if "CENS" not in keys and wanted["CENS"] == "CENS" and _ALIASES["CENS"] in keys:
        wanted["CENS"] = _ALIASES["CENS"]
    refused = {problem.column for problem in problems}
    positions: dict[str, int] = {}
    for name, label in wanted.items():
        found = [at for at, key in enumerate(keys) if key == _key(label)]
        if len(found) > 1:
            problems.error(
                f"The header holds the column {label} {len(found)} times; a duplicate column "
                "leaves open which one is meant.",
                "Keep one of them, or rename the others.",
                column=name,
            )
        if found and found[0] in positions.values():
            other = next(known for known, at in positions.items() if at == found[0])
            problems.error(
                f"columns uses the column {label} as {other} and as {name}.",
                "Each column of the table can be one thing only.",
                column=name,
            )
        elif found:
            positions[name] = found[0]
        elif name not in refused:
            _report_absent(name, header, name in covariates, problems)
    used = set(positions.values())
    names = [text.replace("\ufeff", "").strip() for text in header]
    unused = tuple(
        text or f"(column {at + 1}, without a name)"
        for at, text in enumerate(names)
        if at not in used and keys[at] not in {keys[u] for u in used}
    )
    return Located(positions, {name: names[at] for name, at in positions.items()}, unused)


def _check_covariate_names(covariates: Sequence[str], problems: Problems) -> None:
    for name in covariates:
        if _key(name) in COLUMNS or _key(name) in _ALIASES.values():
            raise UnitError(
                f"units declares {name} as a covariate, but {_key(name)} is a data column with a "
                "meaning and unit of its own. Leave it out of units."
            )
    keys = [_key(name) for name in covariates]
    for name, key in zip(covariates, keys, strict=True):
        if keys.count(key) > 1:
            problems.error(
                f"units declares {name} more than once, differing in case only.",
                "Declare each covariate once.",
                column=name,
            )


def _renamed(
    columns: Mapping[str, str],
    wanted: Mapping[str, str],
    header: Sequence[str],
    problems: Problems,
) -> dict[str, str]:
    """The renamings that can be followed: popk's name -> the table's."""
    known = {_key(name): name for name in wanted}
    present = {_key(name) for name in header}
    renamed: dict[str, str] = {}
    for name, label in columns.items():
        if _key(str(name)) not in known:
            problems.error(
                f"columns renames {name}, which is neither a data column nor a covariate "
                "declared in units.",
                f"Known names: {', '.join(wanted)}. Write popk's name first, then the "
                "table's own, and declare a covariate's unit in units.",
            )
        elif not isinstance(label, str) or _key(label) not in present:
            problems.error(
                f"columns says that {name} is the column {label}, but the header holds "
                f"{_listed(header)}.",
                "Correct the name in columns.",
                column=known[_key(str(name))],
            )
        else:
            renamed[known[_key(str(name))]] = label
    return renamed


def _report_absent(
    name: str, header: Sequence[str], is_covariate: bool, problems: Problems
) -> None:
    if is_covariate:
        problems.error(
            f"The covariate {name} is declared in units, but the header holds {_listed(header)}.",
            f'Add the column, name it with columns={{"{name}": "its name in the table"}}, or '
            "leave the covariate out of units.",
            column=name,
        )
    elif COLUMNS[name].required:
        problems.error(
            f"The required column {name} ({COLUMNS[name].meaning}) is missing; the header holds "
            f"{_listed(header)}.",
            f'Add it, or name it with columns={{"{name}": "its name in the table"}}.',
            column=name,
        )


def _listed(header: Sequence[str], most: int = 20) -> str:
    names = [name.replace("\ufeff", "").strip() or "(no name)" for name in header]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

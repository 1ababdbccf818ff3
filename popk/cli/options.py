"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from popk.errors import PopkError, SettingError

if TYPE_CHECKING:
    import pandas as pd

    from popk.dataset import Dataset
    from popk.inference import Method

__all__ = [
    "UNSURE",
    "CommandError",
    "Reading",
    "Sampling",
    "parse_columns",
    "parse_missing",
    "parse_units",
    "parse_weeks",
    "read",
]

_WEEKS = 1000  # candidates

UNSURE = 3
"""Exit code of a command that did what was asked, with a result not to be relied upon."""


class CommandError(PopkError):
    """A command that cannot be carried out as given; the text says why and what to do."""


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How a data file is read."""

    units: Annotated[
        str | None,
        Parameter(help="Units, for example time=d,amount=mg,concentration=mg/L,WT=kg"),
    ] = None
    column: Annotated[
        list[str] | None,
        Parameter(
            help="A column called otherwise in the file, popk's name first: WT=WGT; repeatable",
            negative="",
        ),
    ] = None
    log_dv: Annotated[
        bool, Parameter(help="DV holds natural logarithms of the concentration", negative="")
    ] = False
    carry: Annotated[
        str | None,
        Parameter(
            help="How a covariate that changes within a subject holds between records: nonmem "
            "(the record at the end of an interval governs it), locf (the last value holds), nocb "
            "(the next value governs backwards) or linear (interpolated)"
        ),
    ] = None
    missing: Annotated[
        list[str] | None,
        Parameter(
            help="What stands in for a covariate of which nothing is known in a subject: "
            "ALB=median (of the other subjects in the file), WT=70, or WT=model (a model with the "
            "latent covariate WT estimates it); repeatable",
            negative="",
        ),
    ] = None
    given: Annotated[
        str | None,
        Parameter(
            help="Units that the file has where they differ from --units; numbers are converted, "
            "and it is said: concentration=ug/L,time=h,WT=lb"
        ),
    ] = None
    molar_mass: Annotated[
        float | None, Parameter(help="In g/mol, to convert from or to nmol/L and the like")
    ] = None
    separator: Annotated[
        str | None, Parameter(help="What separates the columns, if no comma: ';', tab or '|'")
    ] = None
    decimal: Annotated[Literal[".", ","], Parameter(help="Decimal mark, a point or a comma")] = "."
    encoding: Annotated[
        str | None, Parameter(help="Encoding of the text, if not UTF-8: cp1252")
    ] = None
    sheet: Annotated[str | None, Parameter(help="Sheet of an Excel file")] = None
    names: Annotated[
        Literal["nonmem", "adppk"] | None,
        Parameter(
            help="Whose column names the file has: nonmem, or adppk for those of CDISC's ADPPK "
            "(USUBJID, AFRLT, AVAL), which SAS transport files have without it"
        ),
    ] = None
    date: Annotated[
        str | None,
        Parameter(
            help="Column of dates (with or without the time of day), of which TIME is made: the "
            "time since each subject's first record"
        ),
    ] = None
    clock: Annotated[str | None, Parameter(help="Column of the time of day, if another")] = None
    date_format: Annotated[
        str | None, Parameter(help="How dates are written, if not as 2026-05-28 14:30: '%d.%m.%Y'")
    ] = None
    zone: Annotated[
        str | None, Parameter(help="Time zone of the clocks, for summer time: Europe/Berlin")
    ] = None
    zero: Annotated[
        Literal["record", "dose"], Parameter(help="Time 0: each subject's first record, or dose")
    ] = "record"

    def as_it_is(self) -> dict[str, Any]:
        """How the file is written, its units and dates, as `popk.read_dataset` takes them.

        Raises
        ------
        CommandError
            When something is said of dates that are not named.
        """
        from popk.dataset import Dates, Layout

        of_dates = (self.clock, self.date_format, self.zone, self.zero != "record" or None)
        if self.date is None and any(one is not None for one in of_dates):
            raise CommandError(
                "--clock, --date-format, --zone and --zero are about dates; say with --date which "
                "column holds them."
            )
        layout = Layout(self.separator, self.decimal, self.encoding, self.sheet, self.names)
        dates = None
        if self.date is not None:
            dates = Dates(self.date, self.clock, self.date_format, self.zone, self.zero)
        return {
            "layout": layout,
            "given": _pairs("--given", self.given.split(",")) if self.given else None,
            "molar_mass": self.molar_mass,
            "dates": dates,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """How a fit is sampled; without a value popk's own default holds."""

    seed: Annotated[int, Parameter(help="Seed of the random numbers")] = 1
    by: Annotated[
        Literal["marginal", "nuts", "numpyro", "smc", "laplace", "pathfinder", "vi", "map"],
        Parameter(
            help="marginal: the population parameters alone, each subject's random effects "
            "integrated out; nuts: everything jointly, by the No-U-Turn sampler; numpyro: "
            "the same by NumPyro, on a GPU where JAX has one; smc: as marginal, by particles from "
            "the prior, for several modes; laplace, pathfinder, vi: approximations; map: the "
            "mode alone, which is no final result"
        ),
    ] = "marginal"
    draws: Annotated[int | None, Parameter(help="Draws per chain that are kept")] = None
    tune: Annotated[
        int | None, Parameter(help="Tuning steps per chain, not kept (--by nuts, numpyro)")
    ] = None
    chains: Annotated[int | None, Parameter(help="Number of chains")] = None

    def method(self) -> Method:
        """The method with these settings.

        Raises
        ------
        SettingError
            When a setting is out of its range, or the method does not have it.
        """
        from popk.inference import MAP, NUTS, SMC, VI, Laplace, Marginal, NumpyroNUTS, Pathfinder

        given = {name: getattr(self, name) for name in ("draws", "tune", "chains")}
        set_ = {name: value for name, value in given.items() if value is not None}
        if "tune" in set_ and self.by not in {"nuts", "numpyro"}:
            raise SettingError(
                f"--tune {self.tune} was given, which --by {self.by} does not have: it adapts by "
                "itself. Leave it out, or sample with --by nuts."
            )
        if self.by == "map" and set_:
            raise SettingError(
                f"--{next(iter(set_))} was given, which --by map does not have: it finds one "
                "point. Leave it out, or sample with --by marginal."
            )
        if self.by == "smc" and "draws" in set_:
            set_["particles"] = set_.pop("draws")
        if self.by in {"laplace", "pathfinder", "vi"} and "draws" in set_:
            set_["proposals"] = max(100, 2 * set_["draws"])
        method: type[Method] = {
            "marginal": Marginal, "nuts": NUTS, "numpyro": NumpyroNUTS, "smc": SMC,
            "laplace": Laplace, "pathfinder": Pathfinder, "vi": VI, "map": MAP,
        }[self.by]  # fmt: skip
        return method(**set_)


def read(
    data: str | pd.DataFrame,
    reading: Reading,
    units: Mapping[str, str],
    *,
    carry: str | None = None,
) -> Dataset:
    """The data set of a file or table, in `units` and with `carry` unless the user gave others."""
    from popk.dataset import read_dataset

    if reading.units is not None:
        units = parse_units(reading.units)
    rule = carry if reading.carry is None else reading.carry
    return read_dataset(
        data,
        units=units,
        columns=parse_columns(reading),
        log_dv=reading.log_dv,
        carry=rule,
        missing=parse_missing(reading),
        **reading.as_it_is(),
    )


def parse_columns(reading: Reading) -> dict[str, str]:
    """The file's name of each column that it calls otherwise, by popk's name."""
    return _pairs("--column", reading.column or [])


def parse_missing(reading: Reading) -> dict[str, str | float]:
    """What stands in for a missing covariate, by its name."""
    missing = _pairs("--missing", reading.missing or [])
    return {name: _number_or_text(value) for name, value in missing.items()}


def parse_units(text: str) -> dict[str, str]:
    """Units by name from ``time=d,amount=mg,concentration=mg/L,WT=kg``."""
    return _pairs("--units", text.split(","))


def _number_or_text(value: str) -> str | float:
    try:
        return float(value)
    except ValueError:
        return value


def parse_weeks(text: str) -> Sequence[float]:
    """Candidate intervals from ``4:8`` (both ends included) or ``4,5,6``."""
    wrong = CommandError(
        f"--weeks is {text!r}; expected 4:8 (whole weeks, both ends included) or 4,5,6, each above "
        "zero and in rising order."
    )
    first, colon, last = text.partition(":")
    try:
        found = (
            [float(week) for week in range(int(first), min(int(last), int(first) + _WEEKS) + 1)]
            if colon
            else [float(part) for part in text.split(",")]
        )
    except (ValueError, OverflowError):
        raise wrong from None
    rising = all(a < b for a, b in pairwise(found))
    if not found or not rising or not 0 < found[0] <= found[-1] < float("inf"):
        raise wrong
    if len(found) > _WEEKS:
        raise CommandError(f"--weeks is {text!r}; expected {_WEEKS} candidates at most.")
    return [int(week) if week.is_integer() else week for week in found]


def _pairs(option: str, items: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise CommandError(
                f"{option} holds {item!r}; expected NAME=VALUE"
                f"{' parts separated by commas' if option in ('--units', '--given') else ''}."
            )
        if name in pairs:
            raise CommandError(f"{option} gives {name} twice.")
        pairs[name] = value
    return pairs

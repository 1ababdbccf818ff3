"""$INPUT and $DATA: how the control stream reads its data, and the same for popk."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popk.dataset import Dataset, read_dataset
from popk.nonmem.observation import Flagged
from popk.nonmem.refusal import NonmemError
from popk.units import Units

__all__ = ["RESERVED", "Reading", "canonical"]

RESERVED = (
    "ID", "L1", "L2", "DV", "MDV", "TIME", "DATE", "DAT1", "DAT2", "DAT3", "EVID", "AMT", "RATE",
    "SS", "II", "ADDL", "CMT", "PCMT", "CALL", "CONT",
)  # fmt: skip
_READ = (
    "ID", "TIME", "EVID", "AMT", "DV", "MDV", "CMT", "RATE", "ADDL", "II", "SS", "OCC", "CENS",
    "LLOQ",
)  # fmt: skip


def canonical(columns: tuple[tuple[str, str | None, bool], ...]) -> dict[str, str]:
    """Popk's name of every column that is read, by each name that $INPUT gives it."""
    found: dict[str, str] = {}
    for first, second, dropped in columns:
        if dropped:
            continue
        name = second if second in RESERVED else first
        found[first] = name
        if second is not None:
            found[second] = name
    return found


@dataclass(frozen=True)
class Reading:
    """How to read the data of a control stream.

    Parameters
    ----------
    text
        The control stream.
    folder
        Where the name in $DATA is looked for; None if the control stream came as text.
    units
        The model's units.
    names
        popk's names of the columns, by those in $INPUT.
    amount
        By what AMT and RATE are multiplied to be in the model's unit.
    order
        NONMEM's number of each of popk's compartments.
    default
        popk's number of the compartment into which doses without CMT go.
    occasion
        The column that numbers occasions; None if none does.
    below
        How a column marks observations below the limit, and the limit (a number, or the name of a
        column); None if there is none.
    log_dv
        Whether DV holds logarithms.
    """

    text: str
    folder: Path | None
    units: Units
    names: Mapping[str, str]
    amount: float
    order: tuple[int, ...]
    default: int
    occasion: str | None
    below: tuple[Flagged, str] | None
    log_dv: bool

    def frame(self, path: str | Path | None = None) -> Any:
        """The data as the control stream reads them, under popk's names (a pandas data frame).

        IGNORE, ACCEPT and DROP are applied by pharmpy; AMT and RATE are multiplied by `amount`;
        EVID is 1 where AMT is not 0 if $INPUT has no EVID.

        Parameters
        ----------
        path
            The file; that of $DATA if None.

        Raises
        ------
        NonmemError
            When there is no file, or it cannot be read so.
        """
        from pharmpy.model.external.nonmem.dataset import (
            filter_and_convert_nonmem_dataset_in_place,
            read_nonmem_df,
        )
        from pharmpy.model.external.nonmem.nmtran_parser import NMTranParser
        from pharmpy.model.external.nonmem.parsing import (
            parse_column_info,
            replace_synonym_in_filters,
        )

        stream = NMTranParser().parse(self.text)
        (record,) = stream.get_records("DATA")
        file = self._file(record, path)
        names, dropped, replaced, _ = parse_column_info(stream)
        table = read_nonmem_df(file, False, record.ignore_character, names)
        filters = {
            kind: replace_synonym_in_filters(found, replaced)
            for kind, found in (("ignore", record.ignore), ("accept", record.accept))
            if found
        }
        with warnings.catch_warnings():
            # pharmpy calls pandas in ways that pandas is about to change.
            warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
            table = filter_and_convert_nonmem_dataset_in_place(
                table, False, drop=dropped, null_value=record.null_value,
                ignore=filters.get("ignore"), accept=filters.get("accept"), dtype=None,
            )  # fmt: skip
        table = table.rename(columns={n: self.names.get(n.upper(), n.upper()) for n in table})
        return self._prepared(table)

    def dataset(self, path: str | Path | None = None, **more: Any) -> Dataset:
        """The data, checked, for `popk.sample`; covariates hold between records as in NONMEM.

        Parameters
        ----------
        path
            The file; that of $DATA if None.
        more
            For `popk.read_dataset`.

        Raises
        ------
        NonmemError
            When the file cannot be found.
        DataError
            When popk cannot use the data.
        """
        table = self.frame(path)
        wanted = [n for n in (*_READ, *dict(self.units.covariates)) if n in table]
        settings = {"carry": "nonmem", "log_dv": self.log_dv, **more}
        return read_dataset(table[wanted], units=self.units, **settings)

    def _file(self, record: Any, path: str | Path | None) -> Path:
        if path is None and self.folder is None:
            raise NonmemError(
                [f"$DATA names {record.filename}, but the control stream came as text; say where "
                 "the file is."]
            )  # fmt: skip
        file = Path(path) if path is not None else (self.folder or Path()) / record.filename
        if not file.is_file():
            raise NonmemError([f"there is no data file {file}; say where it is."])
        return file

    def _prepared(self, table: Any) -> Any:
        table = table.reset_index(drop=True)
        for name in ("DATE", "DAT1", "DAT2", "DAT3"):
            if name in table:
                raise NonmemError(
                    [f"$INPUT has {name}, calendar dates; popk reads TIME as a number. Convert "
                     "them to time since the first record."]
                )  # fmt: skip
        if "EVID" not in table:
            table["EVID"] = (table["AMT"] != 0).astype(int) if "AMT" in table else 0
        if "AMT" in table:
            table["AMT"] = table["AMT"] * self.amount
        if "RATE" in table:
            rate = table["RATE"]
            table["RATE"] = rate.where(rate <= 0, rate * self.amount)
        self._number_compartments(table)
        if self.occasion is not None and self.occasion != "OCC":
            table["OCC"] = table[self.occasion]
        if self.below is not None:
            flagged, limit = self.below
            observed = (table["EVID"] == 0) & (table.get("MDV", 0) == 0)
            below = table[flagged.column].isin(flagged.levels) == flagged.below
            table["CENS"] = np.where(observed & below, 1, 0)
            table["LLOQ"] = table[limit] if limit in table else float(limit)
        return table

    def _number_compartments(self, table: Any) -> None:
        """CMT as popk counts compartments, with that of doses which have none."""
        dosed = table["EVID"].isin((1, 4))
        if "CMT" in table:
            places = {number: k for k, number in enumerate(self.order, 1)}
            table["CMT"] = table["CMT"].map(lambda x: places.get(int(x), x))
        elif self.default != 1:
            table["CMT"] = 0
        if "CMT" in table and self.default != 1:
            table["CMT"] = table["CMT"].mask(dosed & (table["CMT"] == 0), self.default)

"""What an import gives: the model, what was carried over, what was left out, and the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import design_of
from popk.model import PopModel
from popk.nonmem.data import Reading
from popk.nonmem.random_effects import Between
from popk.nonmem.refusal import NonmemError
from popk.nonmem.verification import individual, shifts
from popk.structure import concentrations

__all__ = ["Carried", "Imported", "LeftOut"]


@dataclass(frozen=True, slots=True)
class Carried:
    """Something that the model has from the control stream: what, where, and what it became."""

    what: str
    where: str
    became: str

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.became}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that the model does not have: what, where it stands, why, and what to do.

    ``matters`` says whether predictions or likelihood of the model would be others with it; what
    does not matter is how NONMEM fits, simulates and prints.
    """

    what: str
    where: str
    why: str
    todo: str
    matters: bool

    def __str__(self) -> str:
        todo = f" {self.todo}" if self.todo else ""
        return f"{self.what} ({self.where}): {self.why}{todo}"


@dataclass(frozen=True)
class Imported:
    """A model made of a NONMEM control stream, and an account of every part of it.

    Parameters
    ----------
    model
        The model; its priors are centred on the values in the control stream.
    carried
        What it has from the control stream.
    left_out
        What it does not have, and why.
    reading
        How the control stream reads its data.
    values
        Value of each population parameter in the control stream.
    subjects, occasions
        popk's random effects as sums of NONMEM's etas.
    """

    model: PopModel
    carried: tuple[Carried, ...]
    left_out: tuple[LeftOut, ...]
    reading: Reading
    values: Mapping[str, float]
    subjects: Between = field(repr=False)
    occasions: Mapping[float, Between] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether nothing that matters was left out."""
        return not any(item.matters for item in self.left_out)

    def dataset(self, path: str | Path | None = None, **more: Any) -> Dataset:
        """The control stream's data, checked; see `popk.nonmem.data.Reading.dataset`."""
        return self.reading.dataset(path, **more)

    def individual_predictions(self, dataset: Dataset, etas: Any) -> NDArray[np.float64]:
        """IPRED of every observation at the control stream's thetas and at NONMEM's etas.

        To compare with NONMEM's own: they agree to the accuracy of the etas.

        Parameters
        ----------
        dataset
            From `dataset`.
        etas
            A data frame with the column ID, and ETA(1), ETA(2), … or ETA1, ETA2, … as in NONMEM's
            .phi file; of 0 where an eta has no column.

        Returns
        -------
        Concentrations (n_observations), in the order of the data.

        Raises
        ------
        NonmemError
            When the etas of a subject are missing.
        """
        model, design = self.model, design_of(self.model, dataset)
        table = self._etas(dataset, etas)[design.rows.subject]
        by_number = {k + 1: table[:, k] for k in range(table.shape[1])}
        shift = shifts(model, self.subjects, self.occasions, by_number, design.rows.occasion)
        columns = individual(model, self.values, design.covariates, shift)
        rows = np.zeros(design.rows.n_rows)
        theta = np.column_stack([np.broadcast_to(column, rows.shape) for column in columns])
        return np.asarray(concentrations(model.structure, theta, design.events))

    def _etas(self, dataset: Dataset, etas: Any) -> NDArray[np.float64]:
        """Etas (n_subjects, n_etas) in the order of the data's subjects."""
        size = self.subjects.matrix.shape[1]
        ids = [f"{float(x):g}" for x in etas["ID"]]
        place = {each: k for k, each in enumerate(ids)}
        missing = [s for s in dataset.subjects if f"{float(s):g}" not in place]
        if missing:
            raise NonmemError(
                [f"the etas have no row for the subjects {', '.join(missing[:5])}; give one row "
                 "for each subject of the data."]
            )  # fmt: skip
        rows = [place[f"{float(s):g}"] for s in dataset.subjects]
        columns = []
        for k in range(1, size + 1):
            name = next((n for n in (f"ETA({k})", f"ETA{k}", f"ETA_{k}") if n in etas), None)
            columns.append(np.zeros(len(ids)) if name is None else np.asarray(etas[name], float))
        return np.column_stack(columns)[rows] if columns else np.zeros((len(rows), 1))

    def __str__(self) -> str:
        lines = [str(self.model), "", "Carried over from the control stream:"]
        lines += [f"  {item}" for item in self.carried]
        for title, items in self._groups():
            lines += ["", title]
            lines += [f"  {item}" for item in items]
        return "\n".join(lines)

    def _groups(self) -> list[tuple[str, list[LeftOut]]]:
        matter = [item for item in self.left_out if item.matters]
        other = [item for item in self.left_out if not item.matters]
        first = "Left out, and the model is another one for it:" if matter else (
            "Nothing was left out that predictions or likelihood rest on."
        )  # fmt: skip
        second = "Left out, without an effect on predictions and likelihood:"
        return [(first, matter), *([(second, other)] if other else [])]

    def _repr_html_(self) -> str:
        groups = self._groups()
        parts = [self.model._repr_html_()]
        tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
            (
                "Carried over from the control stream",
                ("What", "Where", "Became"),
                [(i.what, i.where, i.became) for i in self.carried],
            )
        ]
        tables += [
            (title, ("What", "Where", "Why", "What to do"),
             [(i.what, i.where, i.why, i.todo) for i in items])
            for title, items in groups
        ]  # fmt: skip
        for title, headers, rows in tables:
            parts.append(f"<h4>{escape(title)}</h4>")
            if rows:
                head = "".join(f"<th>{escape(h)}</th>" for h in headers)
                body = "".join(
                    "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                    for row in rows
                )
                parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        return "".join(parts)

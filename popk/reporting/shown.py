"""`popk.show`: what any result says, as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

import xarray as xr

from popk.diagnostics import Verdict, verdict_of
from popk.errors import PopkError
from popk.reporting.answers import answer_table
from popk.reporting.calibration import calibration_table, reliability_table
from popk.reporting.comparison import comparison_table
from popk.reporting.criticised_table import criticism_table
from popk.reporting.described import description_tables
from popk.reporting.findings import findings_table
from popk.reporting.forecasts import decision_table, forecast_table
from popk.reporting.intervals import interval_counts, interval_table
from popk.reporting.parameters import parameter_table
from popk.reporting.rendering import notebook_table
from popk.reporting.robustness import influence_table, sensitivity_table
from popk.reporting.table import Cell, Table, header
from popk.reporting.text import table_text
from popk.reporting.trials import trial_table

__all__ = ["ShowError", "Shown", "show"]

_STATEMENT = "popk is research software: it informs, it does not prescribe."

type Result = xr.DataTree | xr.Dataset


class ShowError(PopkError):
    """Something that is no result of popk; the text says what can be shown."""


@dataclass(frozen=True, repr=False)
class Shown:
    """A result in words and tables: printed as text, shown by a notebook as HTML.

    Parameters
    ----------
    title
        What it is.
    said
        Sentences: the verdict, the answer, what to allow for.
    tables
        The numbers; ``tables[0].to_frame()`` has them in full precision.
    verdict
        Of a fit.
    """

    title: str
    said: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    verdict: Verdict | None = None

    def __str__(self) -> str:
        parts = [self.title, *([str(self.verdict)] if self.verdict else []), *self.said]
        parts += [table_text(table) for table in self.tables]
        return "\n\n".join([*parts, *self._statement])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        verdict = self.verdict._repr_html_() if self.verdict else ""
        said = "".join(f"<p>{escape(text)}</p>" for text in self.said)
        tables = "".join(notebook_table(table) for table in self.tables)
        last = "".join(f"<p><small>{text}</small></p>" for text in self._statement)
        title = f"<p><strong>{escape(self.title)}</strong></p>"
        return f"<div>{title}{verdict}{said}{tables}{last}</div>"

    @property
    def _statement(self) -> tuple[str, ...]:
        """What popk is, unless a table's note says so already."""
        said = any("does not prescribe" in table.note for table in self.tables)
        return () if said else (_STATEMENT,)


def show(result: Result, *, most: int = 10) -> Shown:
    """What a result of popk says: a fit, advice, comparison, answer, trial, check or another.

    Results are xarray trees and data sets, which show what they hold. This shows what it means: the
    verdict of a fit and its parameters, each patient's intervals and what speaks against them, the
    words of a comparison, units and probabilities with every number.

    Parameters
    ----------
    result
        What a function of popk returned, or `popk.load` read.
    most
        At most so many rows where there is one for each patient or candidate.

    Returns
    -------
    Shown
        The last line of a notebook's cell, or ``print(popk.show(result))``.

    Raises
    ------
    ShowError
        When it is no result of popk.
    """
    kind = str(getattr(result, "attrs", {}).get("kind", ""))
    if not isinstance(result, xr.DataTree | xr.Dataset) or not kind.startswith("popk "):
        raise ShowError(
            f"popk.show shows results of popk, which say their kind in their attributes; this is a "
            f"{type(result).__name__}. Give what a function of popk returned."
        )
    return _SHOWN.get(kind, _others)(result, most)


def _fit(fit: Result, _: int) -> Shown:
    data, parameters = fit["data"].to_dataset(), parameter_table(_tree(fit))
    observed = int(((data["EVID"] == 0) & (data["MDV"] == 0)).sum())
    people = len(set(data["ID"].values.astype(str).tolist()))
    title = f"Fit of {fit.attrs['model_name']}: {people} subjects, {observed} observations"
    return Shown(title, (), (parameters,), verdict_of(_tree(fit)))


def _advice(advice: Result, most: int) -> Shown:
    tree = _tree(advice)
    ids = tree["decision"].to_dataset()["subject"].values.astype(str).tolist()
    people = len(ids)
    said = [interval_counts(tree)] if people > 1 else []
    if not int(tree.attrs["fit_converged"]):
        said.insert(0, "The fit did not converge: this advice is not a final result.")
    if people > most:
        said.append(f"The first {most} of {people} patients; most= shows more.")
    found = findings_table(tree, only=ids[:most])
    tables = (interval_table(tree, most=most, details=False), *([found] if found else []))
    title = f"Advice by {tree.attrs['model_name']}: {people} patient{'s' if people > 1 else ''}"
    return Shown(title, tuple(said), tables)


def _comparison(comparison: Result, _: int) -> Shown:
    tree = _tree(comparison)
    return Shown(_capital(tree.attrs["question"]), _sentences(tree), (comparison_table(tree),))


def _answer(answer: Result, most: int) -> Shown:
    tree = _tree(answer)
    decision = tree["decision"].to_dataset()
    words = decision["words"].values.astype(str).ravel().tolist() if "words" in decision else []
    said = (*[word for word in words[:most] if word], f"Rests on {tree.attrs['rests_on']}")
    title = _capital(str(tree.attrs["question"]))
    return Shown(title, said, (answer_table(tree, most=max(most, 1)),))


def _description(result: Result, _: int) -> Shown:
    tree = _tree(result)
    notes = (f"Note: {note}" for note in json.loads(tree.attrs["notes"]))
    said = (str(tree.attrs["words"]), *notes)
    return Shown("The troughs of a cohort", said, description_tables(tree), verdict_of(tree))


def _forecasts(result: Result, _: int) -> Shown:
    tree = _tree(result)
    decided = (decision_table(tree),) if "decision_scores" in tree.children else ()
    return Shown("Forecasts", _sentences(tree), (forecast_table(tree), *decided))


def _trial(result: Result, _: int) -> Shown:
    tree = _tree(result)
    title = f"Trial of policies on virtual patients of {tree.attrs['truth_name']}"
    return Shown(title, _sentences(tree), (trial_table(tree),))


def _calibration(result: Result, _: int) -> Shown:
    tree = _tree(result)
    rely = (reliability_table(tree),) if "reliability" in tree.children else ()
    return Shown("Calibration", _sentences(tree), (calibration_table(tree), *rely))


def _criticism(table: Result, _: int) -> Shown:
    own = _dataset(table)
    tables = (criticism_table(own),) if own.sizes["check"] else ()
    return Shown(f"Criticism of {own.attrs['model_name']}", _sentences(own), tables)


def _scaling(result: Result, _: int) -> Shown:
    tree = _tree(result)
    title = f"Sensitivity of {tree.attrs['model_name']}"
    return Shown(title, _sentences(tree), (sensitivity_table(tree),))


def _influence(table: Result, _: int) -> Shown:
    own = _dataset(table)
    return Shown(
        f"Influence on {own.attrs['model_name']}", _sentences(own), (influence_table(own),)
    )


def _several(result: Result, most: int) -> Shown:
    """Checks, or robustness: what each group says."""
    tree = _tree(result)
    said: list[str] = []
    tables: list[Table] = []
    for name, child in tree.children.items():
        if "kind" in child.attrs:
            own = show(child if child.children else child.to_dataset(), most=most)
            said += [f"{_capital(name.replace('_', ' '))}: {text}" for text in own.said]
            tables += [one for one in own.tables if one.title not in {t.title for t in tables}]
    title = f"{_capital(str(tree.attrs['kind']).removeprefix('popk '))} of "
    return Shown(title + str(tree.attrs["model_name"]), (*_sentences(tree), *said), tuple(tables))


def _others(result: Result, _: int) -> Shown:
    """What is said of it; where nothing is, what it holds, with units."""
    kind = _capital(str(result.attrs["kind"]).removeprefix("popk "))
    title = f"{kind} of {result.attrs['model_name']}" if "model_name" in result.attrs else kind
    said = _sentences(result)
    return Shown(title, said, () if said else (_contents(result),))


def _contents(result: Result) -> Table:
    """Names, units and sizes of the variables."""
    groups = {"": result} if isinstance(result, xr.Dataset) else {
        name: child.to_dataset() for name, child in result.children.items()
    }  # fmt: skip
    rows = []
    for group, held in groups.items():
        for name, values in held.data_vars.items():
            sizes = ", ".join(f"{dim} {size}" for dim, size in values.sizes.items())
            unit = str(values.attrs.get("units", ""))
            place = f"{group}/{name}" if group else str(name)
            meaning = Cell(str(values.attrs.get("long_name", "")))
            rows.append((Cell(header(place, unit)), meaning, Cell(sizes)))
    return Table("What it holds", ("Variable", "Meaning", "Sizes"), tuple(rows), texts=3)


def _sentences(result: Result) -> tuple[str, ...]:
    """The verdict, words and notes that a result carries."""
    attrs = result.attrs
    said = [str(attrs[name]) for name in ("verdict", "words") if attrs.get(name)]
    if not attrs.get("converged", 1):
        said.insert(0, "The fit did not converge: this is not a final result.")
    return (*said, *(f"Note: {note}" for note in json.loads(attrs.get("notes", "[]"))))


def _tree(result: Result) -> xr.DataTree:
    if isinstance(result, xr.DataTree):
        return result
    raise ShowError(f"This is one table of a {result.attrs['kind']}; give the whole result.")


def _dataset(result: Result) -> xr.Dataset:
    return result.to_dataset() if isinstance(result, xr.DataTree) else result


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_SHOWN: Mapping[str, Callable[[Result, int], Shown]] = MappingProxyType(
    {
        "popk fit": _fit,
        "popk advice": _advice,
        "popk averaged advice": _advice,
        "popk comparison": _comparison,
        "popk answer": _answer,
        "popk description": _description,
        "popk forecasts": _forecasts,
        "popk trial": _trial,
        "popk calibration": _calibration,
        "popk criticism": _criticism,
        "popk power scaling": _scaling,
        "popk influence": _influence,
        "popk checks": _several,
        "popk robustness": _several,
    }
)

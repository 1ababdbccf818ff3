"""The report: a fit and advice as one HTML page that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import xarray as xr
from markupsafe import Markup

from popk import plots
from popk.dataset import Dataset
from popk.dataset.summary import html_summary
from popk.diagnostics import verdict_of
from popk.errors import PopkError
from popk.reporting.card import model_tables, notes
from popk.reporting.figures import Picture, inline_svg
from popk.reporting.intervals import interval_table, question
from popk.reporting.parameters import parameter_table
from popk.reporting.provenance import provenance_table, verdict_facts
from popk.reporting.table import Table
from popk.storage import check_place, write_atomically

__all__ = ["ReportError", "report"]

_ALL_DRAWN_UP_TO = 30  # patients; a longer page is read by nobody
_DRAWN = 24
_STATEMENT = (
    "popk is research software. It is not a medical device and gives no treatment advice: its "
    "numbers inform a clinician's decision and do not replace it."
)


class ReportError(PopkError):
    """A report that cannot be made from what was given; the text says why."""


@dataclass(frozen=True)
class _Advice:
    """One advice as the page shows it."""

    heading: str
    table: Table
    overview: Picture
    patients: tuple[Picture, ...]
    left_out: str
    converged: bool


def report(
    fit: xr.DataTree,
    advice: Sequence[xr.DataTree] = (),
    *,
    path: str | os.PathLike[str],
    title: str | None = None,
    summary: Mapping[str, object] | None = None,
) -> Path:
    """Write a self-contained HTML page: verdict first, then the model, the fit and the advice.

    The page loads nothing: figures are inline SVG, there are no scripts and no links out. When
    the fit has not converged, every table and figure says so.

    Parameters
    ----------
    fit
        A fit of popk.
    advice
        Advice made from this very fit, any number of them.
    path
        The file to write; its folder must exist. It appears whole or not at all.
    title
        The page's title; the model's name without it.
    summary
        A few lines for the top of the page, name and value.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ReportError
        When `fit` is not a fit, or an advice is not one or was made from another fit.
    StorageError
        When the folder of `path` does not exist, or `path` is a folder.
    """
    path = check_place(path)
    trees = [advice] if isinstance(advice, xr.DataTree) else list(advice)
    _refuse_strangers(fit, trees)
    stored = verdict_of(fit)
    verdict = asdict(stored)
    dataset = Dataset.from_xarray(fit["data"].to_dataset())
    headings = _headings(trees)
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title or f"{fit.attrs['model_name']}: population pharmacokinetics",
            statement=_STATEMENT,
            summary=dict(summary or {}),
            verdict=verdict,
            headline=stored.headline,
            basis=stored.basis if stored.kind == "approximation" else "",
            facts=verdict_facts(verdict),
            provenance=provenance_table(fit),
            dataset=Markup(html_summary(dataset)),
            warnings=[str(problem) for problem in dataset.warnings],
            model=model_tables(fit),
            notes=notes(fit),
            parameters=parameter_table(fit),
            pictures=tuple(_fit_pictures(fit)),
            advice=[_advice(trees, at, headings) for at in range(len(trees))],
            not_converged=plots.NOT_CONVERGED,
        )
    )
    return write_atomically(path, lambda file: file.write_text(html, encoding="utf-8"))


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("popk.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _refuse_strangers(fit: xr.DataTree, advice: Sequence[xr.DataTree]) -> None:
    if fit.attrs.get("kind") != "popk fit":
        raise ReportError("The first argument is not a fit made by popk.sample.")
    for at, tree in enumerate(advice, start=1):
        if tree.attrs.get("kind") != "popk advice":
            raise ReportError(f"Advice {at} is not the result of popk.individualise.")
        for what in ("model", "data"):
            theirs, ours = tree.attrs[f"fit_{what}_hash"], fit.attrs[f"{what}_hash"]
            if theirs != ours:
                raise ReportError(
                    f"Advice {at} was made from another fit: its {what} has the fingerprint "
                    f"{theirs[:12]}, that of this fit is {ours[:12]}. Individualise again with "
                    "this fit, or report the advice with its own."
                )


def _fit_pictures(fit: xr.DataTree) -> Iterator[Picture]:
    yield Picture(
        inline_svg(plots.plot_observed_vs_predicted(fit), prefix="observed"),
        "Observed against predicted. Each observation against the posterior median of its "
        "individual prediction, with the 90 % interval of the prediction; logarithmic axes.",
    )
    yield Picture(
        inline_svg(plots.plot_population(fit), prefix="population"),
        "Prior and posterior of each population parameter. Where they look alike, the data have "
        "said little and the result rests on the prior.",
    )
    yield Picture(
        inline_svg(plots.plot_individual_fits(fit), prefix="individual"),
        "Observations and individual predictions (median and 90 % interval) of the first "
        "subjects of the data.",
    )


def _headings(trees: Sequence[xr.DataTree]) -> list[str]:
    """What each advice answers; numbered where several answer the same question."""
    questions = [question(tree) for tree in trees]
    headings = []
    for at, (own, tree) in enumerate(zip(questions, trees, strict=True), start=1):
        size = tree["decision"].sizes["subject"]
        patients = f"{size} patient{'s' if size != 1 else ''}"
        headings.append(f"{own}, advice {at} ({patients})" if questions.count(own) > 1 else own)
    return headings


def _drawn_before(trees: Sequence[xr.DataTree], at: int) -> int | None:
    """The earlier advice on the very same patients: their curves are the same."""
    own = trees[at]["data"].attrs["fingerprint"]
    same = (k for k in range(at) if trees[k]["data"].attrs["fingerprint"] == own)
    return next(same, None)


def _advice(trees: Sequence[xr.DataTree], at: int, headings: Sequence[str]) -> _Advice:
    tree, before = trees[at], _drawn_before(trees, at)
    subjects = [str(name) for name in tree["decision"].to_dataset()["subject"].values]
    drawn = subjects if len(subjects) <= _ALL_DRAWN_UP_TO else subjects[:_DRAWN]
    left_out = ""
    if before is not None:
        drawn = []
        another = question(trees[before]) != question(tree)
        differs = "only the target differs, and " if another else ""
        left_out = (
            "These are the patients whose concentrations are drawn under "
            f"{headings[before]}; {differs}the table above has their probabilities."
        )
    elif len(drawn) < len(subjects):
        left_out = (
            f"Curves are drawn for the first {len(drawn)} of {len(subjects)} patients. The other "
            f"{len(subjects) - len(drawn)} are in the table above; their curves are in the group "
            "“curve” of the stored advice, for popk.plots.plot_patient."
        )
    overview = Picture(
        inline_svg(plots.plot_intervals(tree), prefix=f"advice{at}"),
        f"All {len(subjects)} patients. Left: how many have which longest interval with "
        f"{question(tree)}. Right: each patient's median predicted trough, and their median.",
    )
    patients = tuple(
        Picture(
            inline_svg(plots.plot_patient(tree, subject=subject), prefix=f"advice{at}-{k}"),
            f"ID {subject}: median and 90 % interval of the true concentration, without a further "
            "dose after the last recorded one; beside it the probability at each interval.",
        )
        for k, subject in enumerate(drawn)
    )
    return _Advice(
        heading=headings[at],
        table=interval_table(tree),
        overview=overview,
        patients=patients,
        left_out=left_out,
        converged=bool(int(tree.attrs["fit_converged"])),
    )

"""What a report is made from: fits, their checks, advice and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import xarray as xr

from popk.dataset import Dataset
from popk.diagnostics import Verdict, verdict_of
from popk.errors import PopkError
from popk.model import PopModel

__all__ = ["Material", "ReportError", "Reported"]


class ReportError(PopkError):
    """A report that cannot be made from what was given; the text says why."""


@dataclass(frozen=True, eq=False)
class Reported:
    """A fit, its name on the page, and what was computed from it.

    That is its checks (`popk.diagnose`), what conclusions hang on (`popk.robustness`) and its
    forecasts (`popk.evaluate_forecasts`), None where they were not computed. ``anchor`` starts the
    names of its figures and tables.
    """

    name: str
    anchor: str
    fit: xr.DataTree
    checks: xr.DataTree | None = None
    robustness: xr.DataTree | None = None
    forecasts: xr.DataTree | None = None

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the fit converged."""
        return verdict_of(self.fit)

    @cached_property
    def model(self) -> PopModel:
        """The fit's model."""
        return PopModel.from_json(self.fit.attrs["model"])

    @cached_property
    def dataset(self) -> Dataset:
        """The fit's data."""
        return Dataset.from_xarray(self.fit["data"].to_dataset())

    def check(self, name: str) -> xr.Dataset | None:
        """One of the checks, LOO-PIT included; None where it was not computed."""
        for tree in (self.checks, self.robustness):
            if tree is not None and name in tree.children:
                return tree[name].to_dataset()
        return None


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that sections are made from.

    Parameters
    ----------
    reported
        One fit or several of the same data.
    advice
        Advice from the only fit.
    comparisons
        Of the fits, one for each question.
    question
        What is asked, in the author's words; empty for the usual ones.
    """

    reported: tuple[Reported, ...]
    advice: tuple[xr.DataTree, ...] = ()
    comparisons: tuple[xr.DataTree, ...] = ()
    question: str = ""

    @property
    def several(self) -> bool:
        """Whether there are several fits, so that each has to be named."""
        return len(self.reported) > 1

    @classmethod
    def of(
        cls,
        fits: xr.DataTree | Mapping[str, xr.DataTree],
        advice: xr.DataTree | Sequence[xr.DataTree],
        comparisons: xr.DataTree | Sequence[xr.DataTree],
        computed: Mapping[str, xr.DataTree | Mapping[str, xr.DataTree] | None],
        *,
        question: str,
    ) -> Material:
        """What was given, refused where its parts do not belong together.

        ``computed`` holds checks, robustness and forecasts by these names, each of the only fit or
        by the names of several.

        Raises
        ------
        ReportError
            In a sentence.
        """
        if not isinstance(fits, xr.DataTree) and not fits:
            raise ReportError("No fit was given to report on.")
        single = isinstance(fits, xr.DataTree)
        named = {"": fits} if isinstance(fits, xr.DataTree) else dict(fits)
        for name, fit in named.items():
            if not isinstance(fit, xr.DataTree) or fit.attrs.get("kind") != "popk fit":
                what = f"What was given as {name}" if name else "The first argument"
                raise ReportError(f"{what} is not a fit made by popk.sample.")
        own = {what: _by_name(what, given, named) for what, given in computed.items()}
        reported = tuple(
            _reported(
                name,
                fit,
                {what: trees[name] for what, trees in own.items() if name in trees},
                number=0 if single else k,
            )
            for k, (name, fit) in enumerate(named.items(), start=1)
        )
        found = cls(reported, _listed(advice), _listed(comparisons), question=question)
        found._refuse_other_data()
        found._refuse_other_advice()
        found._refuse_other_comparisons()
        return found

    def _refuse_other_data(self) -> None:
        first = self.reported[0]
        for one in self.reported[1:]:
            if one.fit.attrs["data_hash"] != first.fit.attrs["data_hash"]:
                raise ReportError(
                    f"{first.name} and {one.name} are fits of different data (fingerprints "
                    f"{first.fit.attrs['data_hash'][:12]} and {one.fit.attrs['data_hash'][:12]}). "
                    "One report is about one data set; make one for each."
                )

    def _refuse_other_advice(self) -> None:
        if self.several and self.advice:
            raise ReportError(
                "Advice stands in the report of the fit that it was made from, not in that of "
                "several fits."
            )
        fit = self.reported[0].fit
        for at, tree in enumerate(self.advice, start=1):
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

    def _refuse_other_comparisons(self) -> None:
        data = self.reported[0].fit.attrs["data_hash"]
        for at, tree in enumerate(self.comparisons, start=1):
            if tree.attrs.get("kind") != "popk comparison":
                raise ReportError(f"Comparison {at} is not the result of popk.compare.")
            if tree.attrs["data_hash"] != data:
                raise ReportError(
                    f"Comparison {at} is one of fits of other data: its fingerprint is "
                    f"{tree.attrs['data_hash'][:12]}, that of these fits is {data[:12]}."
                )


def _listed(given: xr.DataTree | Sequence[xr.DataTree]) -> tuple[xr.DataTree, ...]:
    return (given,) if isinstance(given, xr.DataTree) else tuple(given)


# What was computed from a fit: its kind, and the function that gives it.
_SOURCES = {
    "checks": ("checks", "popk.diagnose"),
    "robustness": ("robustness", "popk.robustness"),
    "forecasts": ("forecasts", "popk.evaluate_forecasts"),
}


def _by_name(
    what: str,
    given: xr.DataTree | Mapping[str, xr.DataTree] | None,
    named: Mapping[str, xr.DataTree],
) -> dict[str, xr.DataTree]:
    """What was computed from each fit, by the fits' names (one fit has the empty one)."""
    if given is None:
        return {}
    if isinstance(given, xr.DataTree):
        if "" not in named:
            raise ReportError(f"There are several fits; give {what} by their names, as the fits.")
        return {"": given}
    found = dict(given)
    if unknown := [name for name in found if name and name not in named]:
        raise ReportError(f"There are {what} of {', '.join(unknown)}, but no such fit.")
    return found


def _reported(
    name: str, fit: xr.DataTree, computed: Mapping[str, xr.DataTree], *, number: int
) -> Reported:
    shown = name or str(fit.attrs["model_name"])
    for own, tree in computed.items():
        kind, source = _SOURCES[own]
        if tree.attrs.get("kind") != f"popk {kind}":
            raise ReportError(f"The {own} of {shown} are not the result of {source}.")
        for what in ("model", "data"):
            if tree.attrs[f"{what}_hash"] != fit.attrs[f"{what}_hash"]:
                raise ReportError(
                    f"The {own} of {shown} are those of another fit: the {what} differs. Compute "
                    f"them from this fit, by {source}."
                )
    return Reported(shown, f"model{number}-" if number else "", fit, **computed)

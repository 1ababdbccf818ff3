"""What a study makes of its fits: comparison, advice, robustness, forecasts, reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk import reporting
from popk.comparison import compare as compared
from popk.comparison import comparison_frame, evaluate_forecasts
from popk.individual import Trough
from popk.monitoring import individualise
from popk.reporting import interval_frame
from popk.sensitivity import USUAL, robustness
from popk.storage import write_atomically
from popk.study.ready import Ready
from popk.study.steps import Result, Steps

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from popk.reporting import Page

__all__ = ["Results", "advise", "compare", "look", "report"]

type Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class Results:
    """The fits of a study and what was made of them so far."""

    ready: Ready
    fits: Mapping[str, Result]
    steps: Steps
    bar: Bar
    comparisons: dict[str, Result] = field(default_factory=dict)
    advice: dict[str, list[Result]] = field(default_factory=dict)
    looks: dict[tuple[str, str], Result] = field(default_factory=dict)

    @property
    def trees(self) -> dict[str, xr.DataTree]:
        """The fits by name."""
        return {name: fit.tree for name, fit in self.fits.items()}

    @property
    def out(self) -> Path:
        """The folder of the results."""
        return self.ready.study.out


def compare(results: Results) -> None:
    """Compare the models, one question after the other."""
    study = results.ready.study
    asked = study.comparison
    if asked is None:
        return
    for by in asked.by:

        def make(by: str = by) -> xr.DataTree:
            with results.bar(f"comparison by {by}") as bar:
                return compared(
                    results.trees, by, refit=asked.refit, draws=asked.draws, seed=study.seed,
                    progress=lambda name, done, total: bar(done, total),
                )  # fmt: skip

        rests_on = {
            "fits": {name: fit.digest for name, fit in results.fits.items()},
            "by": by, "refit": asked.refit, "draws": asked.draws, "seed": study.seed,
        }  # fmt: skip
        path = results.out / f"comparison_{by}.nc"
        found = results.steps.tree(
            f"comparison by {by}", rests_on, path, make,
            beside=partial(_table_beside, path, lambda one: comparison_frame(one).reset_index()),
        )  # fmt: skip
        results.comparisons[by] = found
        results.steps.say(f"By {by}: {found.tree.attrs['words']}")


def advise(results: Results) -> None:
    """Find each patient's intervals, by each model that is to advise and for each target."""
    ready, study = results.ready, results.ready.study
    asked = study.advice
    if asked is None:
        return
    people = None if ready.patients is None else ready.patients.dataset
    who = "cohort" if people is None else people.fingerprint
    unit = ready.data.dataset.units.concentration
    for name in asked.models or results.fits:
        for target in asked.target:

            def make(name: str = name, target: float = target) -> xr.DataTree:
                with results.bar(f"advice by {name}") as bar:
                    return individualise(
                        results.fits[name].tree, people, target=Trough(target, unit),
                        probability=asked.probability, weeks=list(asked.weeks), seed=study.seed,
                        progress=bar,
                    )  # fmt: skip

            rests_on = {
                "fit": results.fits[name].digest, "patients": who, "target": target,
                "probability": asked.probability, "weeks": list(asked.weeks), "seed": study.seed,
            }  # fmt: skip
            path = results.out / name / f"advice_{target:g}.nc"
            found = results.steps.tree(
                f"advice by {name} for {target:g} {unit}", rests_on, path, make,
                beside=partial(_table_beside, path, interval_frame),
            )  # fmt: skip
            results.advice.setdefault(name, []).append(found)


def look(results: Results) -> None:
    """Look at what each fit's conclusions hang on, and at its forecasts, where asked to."""
    study = results.ready.study
    which = [*(USUAL if study.checks["robustness"] else ())]
    which += ["loo_pit"] if study.checks["loo_pit"] else []
    for name, fit in results.fits.items():
        advice = results.advice.get(name, [])
        base = {
            "fit": fit.digest,
            "advice": [one.digest for one in advice],
            "seed": study.seed,
        }
        folder = results.out / name
        if which:

            def moved(name: str = name, advice: list[Result] = advice) -> xr.DataTree:
                trees = [one.tree for one in advice]
                with results.bar(f"robustness of {name}") as bar:
                    return robustness(
                        results.fits[name].tree, trees, which=which, seed=study.seed, progress=bar
                    )

            results.looks[name, "robustness"] = results.steps.tree(
                f"robustness of {name}", {**base, "which": which}, folder / "robustness.nc", moved
            )
        if study.checks["forecasts"]:

            def foreseen(name: str = name) -> xr.DataTree:
                with results.bar(f"forecasts of {name}") as bar:
                    return evaluate_forecasts(
                        results.fits[name].tree, seed=study.seed, progress=bar,
                        **_judged_by(results),
                    )  # fmt: skip

            judged = None if study.advice is None else [study.advice.target[0]]
            results.looks[name, "forecasts"] = results.steps.tree(
                f"forecasts of {name}", {**base, "judged": judged}, folder / "forecasts.nc",
                foreseen,
            )  # fmt: skip


def report(results: Results) -> None:
    """Write a report on each fit with its advice, and one on all that were compared."""
    study = results.ready.study
    shown = {"title": study.title, "question": study.question}
    shown |= {"files": str(study.files), "pdf": str(study.pdf)}

    def digests(name: str) -> dict[str, Any]:
        made = {what: one.digest for (of, what), one in results.looks.items() if of == name}
        return {"fit": results.fits[name].digest, "checks": _checked(results, name), **made}

    for name, fit in results.fits.items():

        def make(name: str = name, fit: Result = fit) -> list[Path]:
            page = reporting.report(
                fit.tree,
                [one.tree for one in results.advice.get(name, ())],
                **_of(results, name),
                title=None if not study.title else f"{study.title}: {name}",
                question=study.question,
            )
            return _written(page, results.out / name / "report.html", results)

        advice = [one.digest for one in results.advice.get(name, ())]
        results.steps.files(f"report on {name}", {**shown, **digests(name), "advice": advice}, make)
    if len(results.fits) < 2:
        return

    def all_of() -> list[Path]:
        parts = {name: _of(results, name) for name in results.fits}
        found: dict[str, Any] = {
            what: {name: own[what] for name, own in parts.items() if own[what] is not None}
            for what in ("checks", "robustness", "forecasts")
        }
        page = reporting.report(
            results.trees,
            **found,
            comparison=[one.tree for one in results.comparisons.values()],
            title=study.title or None,
            question=study.question,
        )
        return _written(page, results.out / "comparison.html", results)

    rests_on = {
        **shown,
        "fits": {name: digests(name) for name in results.fits},
        "comparisons": {by: one.digest for by, one in results.comparisons.items()},
    }
    results.steps.files("report on the comparison", rests_on, all_of)


def _of(results: Results, name: str) -> dict[str, Any]:
    """What was computed of a fit, as `popk.report` takes it."""
    from popk.storage import load

    checks = results.out / name / "checks.nc"
    found: dict[str, Any] = {
        "checks": load(checks) if results.ready.study.checks["diagnose"] else None
    }
    for what in ("robustness", "forecasts"):
        one = results.looks.get((name, what))
        found[what] = None if one is None else one.tree
    return found


def _checked(results: Results, name: str) -> str | None:
    step = results.steps.record.steps.get(f"checks of {name}")
    wanted = results.ready.study.checks["diagnose"]
    return str(step["digest"]) if step is not None and wanted else None


def _judged_by(results: Results) -> dict[str, Any]:
    """What decisions are judged by: the first target."""
    asked = results.ready.study.advice
    if asked is None:
        return {}
    unit = results.ready.data.dataset.units.concentration
    return {
        "target": Trough(asked.target[0], unit),
        "probability": asked.probability,
        "weeks": list(asked.weeks),
    }


def _written(page: Page, place: Path, results: Results) -> list[Path]:
    study = results.ready.study
    written = [page.write(place)]
    if study.files:
        folder = place.with_name(f"{place.stem}_files")
        written += page.write_tables(folder / "tables")
        written += page.write_figures(folder / "figures")
    if study.pdf:
        written.append(page.write_pdf(place.with_suffix(".pdf")))
    return written


def _table_beside(
    path: Path, table: Callable[[xr.DataTree], pd.DataFrame], tree: xr.DataTree
) -> list[Path]:
    frame = table(tree)
    return [
        write_atomically(
            path.with_suffix(".csv"),
            lambda file: frame.to_csv(file, index=False, lineterminator="\n"),
        )
    ]

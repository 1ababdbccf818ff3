"""Policies on virtual patients, on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from popk.catalogue import find_model
from popk.cli.fitted import fit_of
from popk.cli.options import CommandError, parse_weeks
from popk.cli.outcome import add_written
from popk.cli.output import open_console, print_plain, print_table, track

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from popk.model import PopModel
    from popk.trials import Conduct, Policy

__all__ = ["Policies", "Visits", "trial"]


@Parameter(name="*")
@dataclass(frozen=True)
class Policies:
    """The policies that are tried."""

    fixed: Annotated[
        list[float] | None,
        Parameter(
            help="A fixed interval in weeks; repeatable. The first policy, against which infusions "
            "are saved, is the first of these; 4 without any",
            negative="",
        ),
    ] = None
    tree: Annotated[
        list[float] | None,
        Parameter(help="A trough-guided decision tree with this target; repeatable", negative=""),
    ] = None
    informed: Annotated[
        list[float] | None,
        Parameter(
            help="Model-informed: the longest interval that holds this probability; repeatable",
            negative="",
        ),
    ] = None
    by_weight: Annotated[
        str | None,
        Parameter(
            help="Intervals by weight: 60=7,80=6,5 (up to 60 kg 7 weeks, up to 80 6, then 5)"
        ),
    ] = None
    intervals: Annotated[
        str, Parameter(help="Candidate intervals: 4:8 (both ends included) or 4,5,6")
    ] = "4:8"

    def chosen(self) -> list[Policy]:
        """The policies, the fixed ones first."""
        from popk.trials import DecisionTree, FixedInterval, ModelInformed

        weeks = parse_weeks(self.intervals)
        found: list[Policy] = [FixedInterval(week) for week in self.fixed or [4.0]]
        if self.by_weight is not None:
            found.append(_bands(self.by_weight))
        found += [DecisionTree(target=target, weeks=weeks) for target in self.tree or []]
        found += [ModelInformed(probability=p, weeks=weeks) for p in self.informed or []]
        return found


@Parameter(name="*")
@dataclass(frozen=True)
class Visits:
    """The run-in and the visits."""

    dose: Annotated[
        float | None, Parameter(help="Amount of every infusion; that of the fit without it")
    ] = None
    duration: Annotated[float, Parameter(help="Its duration, in the model's unit of time")] = 0.0
    every: Annotated[float, Parameter(help="Interval of the run-in, in weeks")] = 4.0
    run_in: Annotated[int, Parameter(help="Infusions of the run-in")] = 6
    lloq: Annotated[float | None, Parameter(help="Lower limit of quantification")] = None
    scatter: Annotated[float, Parameter(help="SD of visits around the planned day, in days")] = 0.0
    missed: Annotated[float, Parameter(help="Probability that a visit is a week late")] = 0.0
    lost: Annotated[float, Parameter(help="Probability that a trough is not measured")] = 0.0

    def conduct(self, model: PopModel) -> Conduct:
        """As `popk.trial` takes it."""
        from popk.regimen import Regimen
        from popk.trials import Conduct

        run_in = None
        if self.dose is not None:
            interval = self.every * model.units.time_in("wk")
            run_in = Regimen(
                amount=self.dose, interval=interval, repeats=self.run_in, duration=self.duration
            )
        return Conduct(
            run_in=run_in, lloq=self.lloq, scatter=self.scatter, missed=self.missed, lost=self.lost
        )


def trial(  # noqa: PLR0913
    model: str | None = None,
    *,
    target: float,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    policies: Policies | None = None,
    visits: Visits | None = None,
    covariates: Path | None = None,
    truth: str | None = None,
    patients: int = 1000,
    weeks: float = 104,
    particles: int = 100,
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """Try policies for the next interval on the same virtual patients.

    Example: popk trial --from RUN --target 5 --fixed 4 --fixed 6 --tree 5 --informed 0.9

    Parameters
    ----------
    model
        Name of a model that comes with popk (natalizumab), a JSON file of one, or a Python file
        that defines `model`; FILE.py:NAME takes another name from it. Its priors are what is known
    target
        Trough to hold, in the model's unit
    from_
        Folder of a fit, instead of MODEL: its posterior is what is known
    covariates
        CSV with covariates of some people, a row for each; those of the fit without it
    truth
        Model that the patients come from, if not the one that is known
    patients
        How many virtual patients
    weeks
        How long they are followed
    particles
        Particles of each patient, for policies that ask the model
    seed
        Seed of the random numbers
    out
        Folder for the result, tables and figure; it must not exist or be empty
    """
    if (model is None) == (from_ is None):
        raise CommandError(
            "popk trial needs a model or a fit: popk trial MODEL --target 5 --dose 300, or "
            "popk trial --from RUN --target 5."
        )
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CommandError(f"--out is {out}, which is there already; name a new folder.")
    chosen = (policies or Policies()).chosen()
    table = None if covariates is None else _table(covariates)
    known, described = _known(model, from_)
    conduct = (visits or Visits()).conduct(described)

    # Slow to import, and not needed to refuse what was given above.
    from popk.individual import Trough
    from popk.reporting import trial_table
    from popk.trials import trial as tried

    console = open_console()
    with track(console, "policies") as bar:
        found = tried(
            known, chosen, target=Trough(target, described.units.concentration), conduct=conduct,
            patients=patients, weeks=weeks, truth=None if truth is None else find_model(truth),
            covariates=table, particles=particles, seed=seed, progress=bar,
        )  # fmt: skip
    print_table(console, trial_table(found), key="trial")
    if out is not None:
        written = _write(found, out)
        add_written(*(out / name for name in written))
        print_plain(console, f"Written to {out}: {', '.join(written)}.")


def _known(model: str | None, run: Path | None) -> tuple[Any, PopModel]:
    """The fit or model that policies know, and the model."""
    if run is None:
        found = find_model(model or "")
        return found, found
    from popk.fitted import model_of

    fit = fit_of(run)
    return fit, model_of(fit)


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise CommandError(f"There is no file of covariates {path}.")
    try:
        table = pd.read_csv(path)
        return table.drop(columns=[x for x in table if x == "ID"]).astype(float)
    except ValueError as fault:
        raise CommandError(
            f"{path} does not hold covariates, a column of numbers for each: {fault}."
        ) from fault


def _bands(text: str) -> Policy:
    from popk.trials import WeightBands

    *parts, above = text.split(",")
    try:
        pairs = {float(end): float(week) for end, week in (p.split("=") for p in parts)}
        return WeightBands(pairs, above=float(above))
    except ValueError:
        raise CommandError(
            f"--by-weight is {text!r}; expected 60=7,80=6,5: up to 60 kg 7 weeks, up to 80 kg 6, "
            "above 5."
        ) from None


def _write(found: xr.DataTree, out: Path) -> list[str]:
    """Write the result, its tables and the figure; gives the files' names."""
    from popk.plots import plot_trial
    from popk.storage import save, write_atomically
    from popk.trials import trial_frame

    out.mkdir(parents=True, exist_ok=True)
    save(found, out / "trial.nc")
    summary = partial(trial_frame(found).to_csv, index=False, lineterminator="\n")
    write_atomically(out / "summary.csv", summary)
    patients = found["patients"].to_dataset().to_dataframe().reset_index()
    rows = partial(patients.to_csv, index=False, lineterminator="\n")
    write_atomically(out / "patients.csv", rows)
    figure = plot_trial(found)
    drawn = partial(figure.savefig, format="svg", metadata={"Date": None})
    write_atomically(out / "trial.svg", drawn)
    write_atomically(out / "trial.png", partial(figure.savefig, format="png", dpi=150))
    return ["trial.nc", "summary.csv", "patients.csv", "trial.svg", "trial.png"]

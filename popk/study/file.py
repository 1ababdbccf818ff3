"""Reading a study file: TOML, checked in full before anything is looked up."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk.dataset import Dates, Layout
from popk.errors import SettingError
from popk.study.keys import (
    ADVICE,
    CHECKS,
    COMPARISON,
    DATA,
    DATES,
    LAYOUT,
    MODEL,
    REPORT,
    TOP,
    check_keys,
    shown,
    weeks,
)
from popk.study.problems import Problems, StudyError, nearest

if TYPE_CHECKING:
    from popk.inference import Method

__all__ = ["Advising", "Comparing", "Fitting", "Study", "StudyError", "read_study"]

_FOREIGN = frozenset({"otherwise", "forms"})  # settings that are no plain values


@dataclass(frozen=True)
class Fitting:
    """One model: how the file names it, and the method it is fitted by."""

    source: str
    method: Method


@dataclass(frozen=True)
class Comparing:
    """What `popk.compare` is asked: its questions, and how."""

    by: tuple[str, ...] = ("patient",)
    refit: bool = True
    draws: int | None = None


@dataclass(frozen=True)
class Advising:
    """What is asked for which patients.

    ``patients`` are reading settings, or None for the patients of the fit; ``target`` holds
    troughs in the data's unit of concentration; ``models`` are names, all of them if empty.
    """

    patients: Mapping[str, Any] | None
    target: tuple[float, ...]
    probability: float
    weeks: tuple[float, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A study file as it was read; paths are seen from its folder.

    Parameters
    ----------
    path
        The file.
    sha256
        Checksum of its text.
    seed
        Seed of every step.
    out
        Folder of the results.
    data
        Settings of reading the data, ``path`` among them.
    models
        What is fitted, by the names that the file gives.
    checks
        Which checks are computed of each fit.
    comparison, advice
        None where the file does not ask for it.
    files, pdf
        What is written beside the reports.
    title, question
        The report's; empty for the usual ones.
    problems
        What says where a key stands, for what is found out later.
    """

    path: Path
    sha256: str
    seed: int
    out: Path
    data: Mapping[str, Any]
    models: Mapping[str, Fitting]
    checks: Mapping[str, bool]
    comparison: Comparing | None
    advice: Advising | None
    files: bool = False
    pdf: bool = False
    title: str = ""
    question: str = ""
    problems: Problems = field(compare=False, repr=False, default_factory=lambda: Problems("", ""))


def read_study(path: str | Path, *, out: str | Path | None = None) -> Study:
    """Read a study file; every problem of it at once.

    Parameters
    ----------
    path
        The TOML file.
    out
        Folder of the results instead of the file's own.

    Raises
    ------
    StudyError
        When it cannot be read or anything in it cannot be used; the text names key and line.
    """
    path = Path(path)
    text = _text(path)
    problems = Problems(path.name, text)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as fault:  # also of numbers and lists without an end
        raise StudyError(f"{path.name} is not TOML: {fault}. Nothing was run.") from fault
    top = check_keys(content, TOP, problems)
    data = _reading(_table(top, "data"), ("data",), problems)
    models = {
        name: found
        for name, table in _table(top, "models").items()
        if (found := _fitting(name, table, problems)) is not None
    }
    checks = {"diagnose": True, "robustness": True, "loo_pit": False, "forecasts": False}
    checks |= check_keys(_table(top, "checks"), CHECKS, problems, table=("checks",))
    report = check_keys(_table(top, "report"), REPORT, problems, table=("report",))
    named = tuple(_table(top, "models"))
    comparing = _comparing(top, named, problems)
    advising = _advising(top, data, named, problems)
    problems.raise_if_any()
    folder = Path(out) if out is not None else path.parent / top.get("out", f"{path.stem}-results")
    return Study(
        path=path, sha256=hashlib.sha256(text.encode()).hexdigest(), seed=top["seed"], out=folder,
        data=data, models=models, checks=checks, comparison=comparing, advice=advising,
        files=report.get("files", False), pdf=report.get("pdf", False),
        title=top.get("title", ""), question=top.get("question", ""), problems=problems,
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise StudyError(
            f"There is no study file {path}. Check the spelling and the folder it is looked up "
            "from."
        ) from None
    except IsADirectoryError:
        raise StudyError(f"{path} is a folder; name the study file in it.") from None
    except UnicodeDecodeError as fault:
        raise StudyError(
            f"{path} is not UTF-8 text (byte {fault.start + 1}); a study file is TOML, which is."
        ) from fault
    except OSError as fault:
        raise StudyError(f"{path} cannot be opened: {fault.strerror}.") from fault


def _table(top: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(top.get(name, {}))


def _reading(
    table: Mapping[str, Any], place: tuple[str, ...], problems: Problems
) -> dict[str, Any]:
    """How a file is read, as `popk.read_dataset` takes it, and its ``path``."""
    usable = check_keys(table, DATA, problems, table=place)
    written = {key: usable.pop(key) for key in LAYOUT if key in usable}
    dates = usable.pop("dates", None)
    try:
        if written:
            usable["layout"] = Layout(**written)
    except SettingError as fault:
        problems.add((*place, next(iter(written))), str(fault))
    if dates is not None:
        told = check_keys(dates, DATES, problems, table=(*place, "dates"))
        try:
            if "date" in told:
                usable["dates"] = Dates(**told)
        except SettingError as fault:
            problems.add((*place, "dates"), str(fault))
    return usable


def _fitting(name: str, table: Mapping[str, Any], problems: Problems) -> Fitting | None:
    """A model's part; what is wrong with its method's settings is said here too."""
    place = ("models", name)
    if not name.replace("-", "").replace("_", "").isalnum():
        problems.add(place, "a name is made of letters, digits, - and _: it names a folder.")
    # An unknown method must not make its settings look unknown too.
    method = table.get("method", "marginal")
    kind = _methods().get(method) if isinstance(method, str) else None
    settings = _settings(kind) if kind else tuple(key for key in table if key not in MODEL)
    usable = check_keys(table, MODEL, problems, table=place, more=settings)
    if kind is None or "model" not in usable:
        return None
    chosen = {key: value for key, value in usable.items() if key in settings}
    try:
        return Fitting(usable["model"], kind(**chosen))
    except SettingError as fault:
        problems.add((*place, "method"), str(fault))
    except (TypeError, ValueError, OverflowError):
        wrong = ", ".join(f"{key} = {shown(value)}" for key, value in chosen.items())
        problems.add((*place, "method"), f"{method} cannot take {wrong}; give numbers.")
    return None


def _methods() -> dict[str, type[Method]]:
    from popk.inference import MAP, NUTS, SMC, VI, Laplace, Marginal, NumpyroNUTS, Pathfinder

    return {
        "marginal": Marginal, "nuts": NUTS, "numpyro": NumpyroNUTS, "smc": SMC,
        "laplace": Laplace, "pathfinder": Pathfinder, "vi": VI, "map": MAP,
    }  # fmt: skip


def _settings(kind: type[Method]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if one.name not in _FOREIGN)


def _comparing(
    top: Mapping[str, Any], named: tuple[str, ...], problems: Problems
) -> Comparing | None:
    if "comparison" not in top:
        return Comparing() if len(named) > 1 else None
    table = check_keys(_table(top, "comparison"), COMPARISON, problems, table=("comparison",))
    if len(named) < 2:
        problems.add(
            ("comparison",), "there is one model only; add another [models.NAME], or leave it out."
        )
    if "by" in table:
        table["by"] = _listed(table["by"])
    return Comparing(**table)


def _advising(
    top: Mapping[str, Any], data: Mapping[str, Any], named: tuple[str, ...], problems: Problems
) -> Advising | None:
    if "advice" not in top:
        return None
    table = check_keys(_table(top, "advice"), ADVICE, problems, table=("advice",))
    patients = table.get("patients", "cohort")
    if isinstance(patients, dict):
        patients = _reading(patients, ("advice", "patients"), problems)
    elif patients != "cohort":
        patients = {"path": patients}
    models = _listed(table.get("models", ()))
    for name in models:
        if name not in named:
            problems.add(("advice", "models"), f"there is no model {name}. {nearest(name, named)}")
    if "target" not in table:
        return None
    return Advising(
        # Read as the data are, but for what is said of them.
        None if patients == "cohort" else {**data, **patients},
        _listed(table["target"]),
        table.get("probability", 0.9),
        tuple(weeks(table.get("weeks", "4:8")) or ()),
        models,
    )


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)

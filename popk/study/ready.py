"""A study's data and models, read and checked against each other before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popk.catalogue import find_model
from popk.dataset import Dataset, read_dataset
from popk.design import check_fit, design_of
from popk.errors import PopkError
from popk.model import PopModel
from popk.storage import checksum
from popk.study.file import Study
from popk.study.problems import Problems, StudyError
from popk.units import Units

__all__ = ["Ready", "Source", "make_ready"]


@dataclass(frozen=True)
class Source:
    """A data file that was read: the file, its checksum, and what is in it."""

    path: Path
    sha256: str
    dataset: Dataset


@dataclass(frozen=True)
class Ready:
    """A study whose data and models have been read and go together.

    ``patients`` are those to be advised; None where they are the fit's own, or nobody is.
    """

    study: Study
    data: Source
    patients: Source | None
    models: Mapping[str, PopModel]


def make_ready(study: Study) -> Ready:
    """Read the data and models of a study and check that they go together; nothing is fitted.

    Raises
    ------
    StudyError
        With everything that is wrong: in the data file, the patients', each model, and between
        them.
    """
    problems = study.problems
    models = _models(study, problems)
    units = _units(study.data, models, problems)
    data = patients = None
    if units is not None:
        data = _source(study, study.data, units, ("data",), problems)
        if study.advice is not None and study.advice.patients is not None:
            place = ("advice", "patients")
            patients = _source(study, study.advice.patients, units, place, problems)
    for name, model in models.items():
        place = ("models", name)
        if data is not None:
            _try(lambda m=model: check_fit(m, data.dataset), place, problems)
        advised = study.advice is not None and name in (study.advice.models or models)
        if patients is not None and advised:
            _try(lambda m=model: design_of(m, patients.dataset), ("advice", "patients"), problems)
    problems.raise_if_any()
    if data is None:  # pragma: no cover - without data there is a problem
        raise StudyError(f"{study.path} names no data.")
    return Ready(study, data, patients, models)


def _try(work: Any, place: tuple[str, ...], problems: Problems) -> Any:
    """What `work` gives; None where it is refused, which is said of the key."""
    try:
        return work()
    except PopkError as fault:
        problems.add(place, str(fault))
    except OSError as fault:
        problems.add(place, f"{fault.filename}: {fault.strerror}.")
    return None


def _models(study: Study, problems: Problems) -> dict[str, PopModel]:
    found = {}
    for name, fitting in study.models.items():
        source = fitting.source
        if source.endswith((".json", ".py")) or ".py:" in source:
            source = str(study.path.parent / source)
        place = ("models", name, "model")
        model = _try(lambda text=source: find_model(text), place, problems)
        if model is not None:
            found[name] = model
    return found


def _units(
    data: Mapping[str, Any], models: Mapping[str, PopModel], problems: Problems
) -> dict[str, str] | None:
    """The units of the data: those given, else those that the models share."""
    if "units" in data:
        units = _try(lambda: Units.parse(data["units"]), ("data", "units"), problems)
        return None if units is None else dict(data["units"])
    shared: dict[str, str] = {}
    for name, model in models.items():
        for key, unit in model.units.to_dict().items():
            if shared.setdefault(key, unit) != unit:
                problems.add(
                    ("data", "units"),
                    f"is missing, and the models do not share theirs: {key} is in {unit} in "
                    f"{name}, in {shared[key]} in another. Say the units of the data.",
                )
                return None
    return shared or None


def _source(
    study: Study,
    settings: Mapping[str, Any],
    units: Mapping[str, str],
    place: tuple[str, ...],
    problems: Problems,
) -> Source | None:
    rest = {key: value for key, value in settings.items() if key not in ("path", "units")}
    if "path" not in settings:
        return None
    path = study.path.parent / settings["path"]
    wanted = settings.get("units", units)
    dataset = _try(lambda: read_dataset(path, units=wanted, **rest), (*place, "path"), problems)
    return None if dataset is None else Source(path, checksum(path), dataset)

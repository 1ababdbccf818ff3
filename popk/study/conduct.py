"""Carrying out a study: checks, fits, comparison, advice, reports, each step once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk.diagnostics import Verdict, check_priors, diagnose, verdict_of
from popk.inference import Report, discard_run, sample
from popk.inference.method import as_values
from popk.inference.runs import about_run, environment, state_of, versions
from popk.inference.runs.interruption import terminable
from popk.inference.runs.lock import locked
from popk.journal import note_written
from popk.storage import write_atomically
from popk.study.file import Study
from popk.study.problems import StudyError
from popk.study.ready import Ready, Source
from popk.study.record import Record
from popk.study.results import Results, advise, compare, look, report
from popk.study.steps import Result, Steps

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Carried", "Watch", "carry_out"]

_FIT, _RUN, _LOCK, _COPY = "fit.nc", "run.json", "lock", "study.toml"


@dataclass(frozen=True)
class Watch:
    """Who is told what goes on.

    Parameters
    ----------
    say
        Called with a sentence.
    sampling
        Gives, for a fit, a listener of its reports.
    bar
        Gives, for a step of this name, what is called with (done, total).
    """

    say: Callable[[str], None] = lambda text: None
    sampling: Callable[[], AbstractContextManager[Callable[[Report], None]]] = lambda: nullcontext(
        lambda report: None
    )
    bar: Callable[[str], AbstractContextManager[Callable[[int, int], None]]] = lambda what: (
        nullcontext(lambda done, total: None)
    )


@dataclass(frozen=True)
class Carried:
    """What came of a study.

    ``verdicts`` are those of the fits by name, ``done`` the steps that were computed now, ``steps``
    all of them with the digests of their results, ``left`` files of steps that an earlier state of
    the study file asked for.
    """

    out: Path
    verdicts: Mapping[str, Verdict]
    done: tuple[str, ...]
    steps: Mapping[str, str]
    left: tuple[str, ...]
    digest: str

    @property
    def converged(self) -> bool:
        """Whether all fits did."""
        return all(verdict.converged for verdict in self.verdicts.values())


def carry_out(ready: Ready, *, overwrite: bool = False, watch: Watch | None = None) -> Carried:
    """Carry out a study, from its checked data to its reports.

    Every step is taken down in ``manifest.json`` with a digest of all that it rests on and of its
    result. A step whose inputs are those of before is not done again; a fit that was interrupted
    goes on. The same file, data and models give the same digests on the same machine.

    Parameters
    ----------
    ready
        From `make_ready`.
    overwrite
        Replace fits in the folder that rest on another model, other data or settings.
    watch
        Who is told what goes on; nobody if None.

    Raises
    ------
    StudyError
        When the folder holds fits of something else and `overwrite` is not set.
    StorageError
        When it is in use, damaged, or holds what is no study.
    """
    watch = Watch() if watch is None else watch
    study = ready.study
    study.out.mkdir(parents=True, exist_ok=True)
    with locked(study.out / _LOCK), _kept_for_later(study), terminable():
        record = Record.of(study.out)
        _refuse_other_fits(ready, record, overwrite=overwrite)
        record.about = _about(ready)
        text = study.path.read_bytes()
        write_atomically(study.out / _COPY, lambda path: path.write_bytes(text))
        steps = Steps(record, watch.say)
        fits = {name: _fitted(ready, name, steps, watch) for name in ready.models}
        results = Results(ready, fits, steps, watch.bar)
        compare(results)
        advise(results)
        look(results)
        report(results)
        left = _left_over(record, steps)
        record.write()
    return Carried(
        out=study.out,
        verdicts={name: verdict_of(fit.tree) for name, fit in fits.items()},
        done=tuple(steps.done),
        steps={name: step["digest"] for name, step in record.steps.items()},
        left=left,
        digest=record.digest,
    )


@contextmanager
def _kept_for_later(study: Study) -> Iterator[None]:
    """Say on an interruption how to go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        # The run's own note names a command that would finish this fit alone.
        end.__notes__ = [
            f"What was done is in {study.out}; popk run {study.path} goes on from there."
        ]
        raise


def _fitted(ready: Ready, name: str, steps: Steps, watch: Watch) -> Result:
    """The fit of one model, after a look at its priors."""
    study, model, data = ready.study, ready.models[name], ready.data.dataset
    method, folder = study.models[name].method, study.out / name
    same = {"model": model.hash, "data": data.fingerprint, "seed": study.seed}
    words = steps.words(
        f"priors of {name}", same, lambda: str(check_priors(model, data, seed=study.seed))
    )
    watch.say(f"{name}: {words.partition(chr(10))[0].rstrip(':')}.")

    def make() -> xr.DataTree:
        with watch.sampling() as listener:
            return sample(model, data, method, seed=study.seed, progress=listener, run=folder)

    rests_on = {**same, "method": _coreless(as_values(method))}
    fit = steps.tree(f"fit of {name}", rests_on, folder / _FIT, make, stored=True)
    watch.say(f"{name}: {verdict_of(fit.tree)}")
    if study.checks["diagnose"]:

        def checked() -> xr.DataTree:
            with watch.bar(f"checks of {name}") as bar:
                return diagnose(fit.tree, seed=study.seed, progress=bar)

        steps.tree(
            f"checks of {name}", {"fit": fit.digest, "seed": study.seed},
            folder / "checks.nc", checked,
        )  # fmt: skip
    return fit


def _refuse_other_fits(ready: Ready, record: Record, *, overwrite: bool) -> None:
    """Refuse to replace fits that took their time, unless asked to; all of them in one message."""
    study = ready.study
    others = {}
    for name, model in ready.models.items():
        folder = study.out / name
        if state_of(folder) == "nothing":
            continue
        if not (folder / _RUN).is_file():
            others[name] = ["where it comes from, which it does not say"]
            continue
        before = about_run(folder)
        now = {
            "the model": (before["model_hash"], model.hash),
            "the data": (before["data_hash"], ready.data.dataset.fingerprint),
            "the method or its settings": (
                _coreless(before["method"]),
                # As JSON holds it: tuples are lists there.
                json.loads(json.dumps(_coreless(as_values(study.models[name].method)))),
            ),
            "the seed": (before["seed"], study.seed),
        }
        if found := [what for what, (old, new) in now.items() if old != new]:
            others[name] = found
    if others and not overwrite:
        lines = [f"  - {study.out / name} differs in {', '.join(w)}." for name, w in others.items()]
        raise StudyError(
            "\n".join(
                [
                    f"{study.out} holds fits of something else than {study.path.name} asks for:",
                    *lines,
                    "Give another folder, by out in the study file or --out; or replace them with "
                    "--overwrite.",
                ]
            )
        )
    for name in others:
        discard_run(study.out / name)
        _forget(record, study.out / name, f"{name}/")


def _forget(record: Record, folder: Path, own: str) -> None:
    """Remove what was made from a fit that is replaced: it is not that of the new one."""
    for name in list(record.steps):
        files = record.steps[name]["files"]
        if any(file.startswith(own) for file in files):
            paths = [record.folder / file for file in files]
            for path in paths:
                path.unlink(missing_ok=True)
            note_written(*paths)
            del record.steps[name]
    # Also of targets that the study file has named before.
    old = list(folder.glob("advice_*"))
    for path in old:
        path.unlink()
    note_written(*old)


def _left_over(record: Record, steps: Steps) -> tuple[str, ...]:
    """Files of steps that the study no longer asks for; the steps leave the manifest."""
    gone = [name for name in record.steps if name not in steps.asked]
    files = [file for name in gone for file in record.steps[name]["files"]]
    for name in gone:
        del record.steps[name]
    return tuple(file for file in files if (record.folder / file).exists())


def _about(ready: Ready) -> dict[str, Any]:
    study = ready.study
    return {
        "study": {"file": study.path.name, "sha256": study.sha256, "seed": study.seed},
        "data": _described(ready.data),
        "patients": None if ready.patients is None else _described(ready.patients),
        "models": {
            name: {
                "source": fitting.source,
                "name": ready.models[name].name,
                "hash": ready.models[name].hash,
                "method": as_values(fitting.method),
            }
            for name, fitting in study.models.items()
        },
        "versions": versions(),
        "environment": environment(),
    }


def _described(source: Source) -> dict[str, Any]:
    data = source.dataset
    return {
        "file": source.path.name,
        "sha256": source.sha256,
        "fingerprint": data.fingerprint,
        "units": data.units.to_dict(),
        "subjects": data.n_subjects,
        "observations": data.n_observations,
        "warnings": [warning.to_text() for warning in data.warnings],
    }


def _coreless(method: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings without the number of cores, on which no result depends."""
    return {
        key: _coreless(value) if isinstance(value, Mapping) else value
        for key, value in method.items()
        if key != "cores"
    }

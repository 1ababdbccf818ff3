"""A run made again from its bundle, and whether the same came out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk.bundle.means import FALSE_ALARM, Pair, limit_for, means_of, paired
from popk.bundle.opening import Bundle, BundleError, open_bundle
from popk.digests import digest_of_tree
from popk.inference import sample
from popk.inference.progress import Listener
from popk.inference.runs import environment, state_of, versions
from popk.journal import note_written
from popk.reporting.table import Cell, Table, number
from popk.storage import StorageError, load, write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Repetition", "repeat_bundle", "repeat_run"]

_FIT, _RESULT = "fit.nc", "repeat.json"


@dataclass(frozen=True, repr=False)
class Repetition:
    """What came of a repetition.

    Parameters
    ----------
    out
        Folder of the new run.
    identical
        Whether the draws are the same to the bit.
    agrees
        Whether they are, or, where they need not be, the means agree within `limit`.
    same_place
        Whether versions and machine are those of the bundle.
    means
        Each population parameter there and here.
    limit
        The largest difference that counts as chance, in Monte Carlo standard errors.
    notes
        Sentences on versions, machine, and what else keeps draws from being the same.
    """

    out: Path
    identical: bool
    agrees: bool
    same_place: bool
    means: tuple[Pair, ...]
    limit: float
    notes: tuple[str, ...]

    @property
    def largest(self) -> Pair:
        """The mean that differs most."""
        return max(self.means, key=lambda one: abs(one.difference))

    @property
    def written(self) -> tuple[Path, ...]:
        """The fit and the comparison."""
        return self.out / _FIT, self.out / _RESULT

    @property
    def words(self) -> str:
        """The answer in a sentence."""
        if self.identical:
            return "Repeated: the draws are identical to the bit."
        most = self.largest
        apart = (
            f"the largest difference of a mean is {abs(most.difference):.2g} Monte Carlo standard "
            f"errors ({most.name})"
        )
        if self.agrees:
            return (
                f"Repeated: not the same draws, but the same posterior within Monte Carlo error: "
                f"{apart}; up to {self.limit:.2g} is chance (false alarm {FALSE_ALARM:g})."
            )
        if self.same_place and abs(most.difference) <= self.limit:
            return (
                "DOES NOT AGREE: with the same versions on the same kind of machine the draws are "
                f"to be identical to the bit, and are not; {apart}."
            )
        return (
            f"DOES NOT AGREE: {apart}; up to {self.limit:.2g} would be chance (false alarm "
            f"{FALSE_ALARM:g})."
        )

    def table(self) -> Table:
        """Each mean in the bundle and in the repetition."""
        rows = [
            (
                Cell(f"{one.name} ({one.unit})" if one.unit != "1" else one.name),
                Cell(number(one.there)),
                Cell(number(one.here)),
                Cell(f"{one.difference:.2f}", "warn" if abs(one.difference) > self.limit else ""),
            )
            for one in self.means
        ]
        return Table(
            title="Posterior means in the bundle and repeated",
            headers=("Parameter", "Mean in the bundle", "Mean repeated", "Difference (MCSE)"),
            rows=tuple(rows),
            note="Difference: in Monte Carlo standard errors of the two means together. Research "
            "software: it informs, it does not prescribe.",
        )

    def to_frame(self) -> pd.DataFrame:
        """The same in full precision."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.means])

    def __str__(self) -> str:
        return "\n".join([self.words, *self.notes])

    def __repr__(self) -> str:
        return str(self)


def repeat_run(
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    expect: str | None = None,
    progress: bool | Listener = True,
) -> Repetition:
    """Check a bundle of `popk.export_run`, sample it anew, and say whether the same came out.

    With the versions and the kind of machine that it was made with, the draws are to be identical
    to the bit. Elsewhere, or where a run by `NUTS` was interrupted, the means of the population
    parameters are compared in Monte Carlo standard errors.

    Parameters
    ----------
    bundle
        The file. It is untrusted: checked in full, no code of it is run.
    out
        A new folder for the run, or that of a repetition that was interrupted.
    expect
        The bundle's SHA-256 as its maker says, or its first 16 digits or more.
    progress
        As for `popk.sample`.

    Returns
    -------
    ``identical``, ``agrees``, the means, and ``words``; also in ``repeat.json`` in the folder.

    Raises
    ------
    BundleError
        When it is no bundle, holds what no bundle holds, or its files are not those of its index.
    ModelError, DataError, SettingError, StorageError
        When model, data or settings cannot be used by this version of popk, or the folder is not
        new.
    """
    return repeat_bundle(open_bundle(bundle, expect=expect), out, progress=progress)


def repeat_bundle(
    bundle: Bundle, out: str | os.PathLike[str], *, progress: bool | Listener = True
) -> Repetition:
    """Sample an open bundle anew; see `repeat_run`."""
    out = Path(out)
    used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if used and state_of(out) != "unfinished":  # one that was interrupted goes on
        raise StorageError(f"{out} is there already; name a new folder for the repetition.")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        sample(
            bundle.model, bundle.dataset, bundle.method, seed=bundle.seed, progress=progress,
            run=out,
        )  # fmt: skip
    except (KeyboardInterrupt, SystemExit) as end:
        # The run's own note names a command that would compare nothing.
        end.__notes__ = [f"What was drawn is in {out}; the same command goes on from there."]
        raise
    found = _compared(bundle, out)
    content = {
        "kind": "popk repetition",
        "bundle": {"file": bundle.path.name, "sha256": bundle.sha256},
        "identical": found.identical,
        "agrees": found.agrees,
        "words": found.words,
        "notes": found.notes,
        "limit_mcse": found.limit,
        "means": [vars(one) for one in found.means],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(out / _RESULT, lambda path: path.write_text(text, encoding="utf-8"))
    note_written(out / _RESULT)
    return found


def _compared(bundle: Bundle, out: Path) -> Repetition:
    fit, index = load(out / _FIT), bundle.index
    expected, own = index["expected"], means_of(fit)
    if {one["name"] for one in own} != {one["name"] for one in index["means"]}:
        raise BundleError(f"{bundle.path}: its means are of other parameters than the model's.")
    identical = digest_of_tree(fit, "/posterior") == expected["draws"]
    pairs, limit = paired(index["means"], own), limit_for(len(own))
    elsewhere = _elsewhere(index)
    resumed = bool(index["resumed"]) or fit.attrs["resumed"] != "[]"
    free = [*elsewhere, *_unrepeatable(index, resumed=resumed)]  # whatever lets draws differ
    near = all(abs(one.difference) <= limit for one in pairs)
    notes = list(free)
    if identical and digest_of_tree(fit) != expected["values"]:
        notes.append("What was computed from the draws is not the same to the bit.")
    return Repetition(
        out=out,
        identical=identical,
        agrees=identical or (bool(free) and near),
        same_place=not free,
        means=tuple(pairs),
        limit=limit,
        notes=tuple(notes),
    )


def _elsewhere(index: Mapping[str, Any]) -> list[str]:
    """What is not as it was where the bundle was made, in sentences."""
    found = []
    now, then = versions(), index["versions"]
    changed = [
        f"{name} {then.get(name)} there, {now.get(name)} here"
        for name in dict.fromkeys([*now, *then])
        if then.get(name) != now.get(name)
    ]
    if changed:
        found.append(f"Other versions: {'; '.join(changed)}.")
    here, there = environment(), index["environment"]
    for name, what in (
        ("python", "Python"), ("system", "system"), ("machine", "machine"),
        ("processor", "processor"),
    ):  # fmt: skip
        before, own = str(there.get(name)), str(here[name])
        if name == "system":  # its release does not matter
            before, own = before.split(maxsplit=1)[0] if before else "", own.split(maxsplit=1)[0]
        if before != own:
            found.append(f"Another {what}: {there.get(name)} there, {here[name]} here.")
    return found


def _unrepeatable(index: Mapping[str, Any], *, resumed: bool) -> list[str]:
    """What keeps even the same machine from drawing the same, in sentences."""
    found = []
    if resumed and index["method"].get("name") == "NUTS":
        found.append("A run was interrupted and went on; by NUTS the draws are others then.")
    if not index["one_version"]:
        found.append("The run was continued with other versions than it was begun with.")
    return found

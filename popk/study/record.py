"""The manifest of a study: what it rests on, which steps are done, and the digests of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popk.digests import digest_of_values
from popk.journal import note_written
from popk.storage import StorageError, checksum, read_sealed, write_sealed

__all__ = ["MANIFEST", "Record"]

MANIFEST = "manifest.json"
_KIND = "popk study"
_FIELDS = frozenset(
    {
        "kind", "study", "data", "patients", "models", "versions", "environment", "digest", "steps",
    }
)  # fmt: skip


@dataclass
class Record:
    """The manifest in a folder, written anew after each step.

    Attributes
    ----------
    folder
        The folder of the results.
    about
        What the study rests on: file, data, models, seed, versions.
    steps
        What is done, by the step's name: ``key`` (a digest of all that it rests on), ``digest`` of
        the result, ``files`` with their checksums, ``seconds``.
    """

    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Record:
        """The record that the folder holds, or an empty one.

        Raises
        ------
        StorageError
            When what is there is not the manifest of a study.
        """
        path = folder / MANIFEST
        if not path.exists():
            return cls(folder)
        remedy = "Remove it: finished fits are kept all the same."
        content = read_sealed(path, remedy)
        if content.get("kind") != _KIND:
            raise StorageError(
                f"{path} is not the manifest of a study. Give another folder, by out in the study "
                "file or --out."
            )
        unknown = set(content) - _FIELDS
        if unknown or not isinstance(content.get("steps"), dict):
            raise StorageError(f"{path} is damaged: its fields are not a manifest's. {remedy}")
        return cls(folder, steps=content["steps"])

    def holds(self, name: str, key: str) -> bool:
        """Whether a step was done from the same inputs, and all its files are as they were."""
        step = self.steps.get(name)
        if step is None or step["key"] != key:
            return False
        return all(
            (self.folder / file).is_file() and checksum(self.folder / file) == known
            for file, known in step["files"].items()
        )

    def note(self, name: str, key: str, *, digest: str, files: Iterable[Path], **more: Any) -> None:
        """Take down that a step is done, and write the manifest."""
        written = list(files)
        note_written(*written)  # in the journals of the runs that they lie beside
        sums = {path.relative_to(self.folder).as_posix(): checksum(path) for path in written}
        self.steps[name] = {"key": key, "digest": digest, "files": sums, **more}
        self.write()

    @property
    def digest(self) -> str:
        """One digest of the results of all steps."""
        return digest_of_values({name: step["digest"] for name, step in self.steps.items()})

    def write(self) -> None:
        """Write the manifest."""
        content = {"kind": _KIND, **self.about, "digest": self.digest, "steps": self.steps}
        write_sealed(self.folder / MANIFEST, content)

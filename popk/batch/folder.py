"""A batch's folder: what it is of, and each chunk's advice, errors and digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from popk.batch.source import Chunk
from popk.inference.runs.lock import locked
from popk.storage import StorageError, checksum, read_sealed, write_atomically, write_sealed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ADVICE", "ERRORS", "MANIFEST", "Folder", "Form", "Part"]

type Columns = Mapping[str, tuple[str, str, str]]
type Form = Literal["parquet", "csv"]

ADVICE, ERRORS, MANIFEST = "advice", "errors", "manifest.json"
_DONE, _LOCK = "done", "lock"
_FORMAT = 1
_ANOTHER = "Give another folder."


@dataclass(frozen=True)
class Part:
    """What is known of a chunk that is done."""

    number: int
    digest: str
    patients: int
    failed: int
    withheld: int
    none: int
    unreliable: int
    place: str


@dataclass(frozen=True)
class Folder:
    """Where the results of a batch stand.

    Parameters
    ----------
    path
        The folder.
    form
        Of the files: ``parquet`` or ``csv``.
    columns
        Type, unit and meaning of each column, for `ADVICE` and `ERRORS`.
    about
        What is said in every Parquet file.
    """

    path: Path
    form: Form
    columns: Mapping[str, Columns]
    about: Mapping[str, Any]

    @contextmanager
    def opened(self, setting: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder: a new one, or that of the same batch to go on with it.

        Parameters
        ----------
        setting
            What may not differ, by name in a user's words.
        described
            What else is written beside it.

        Raises
        ------
        StorageError
            When it holds something else, or another process works in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StorageError(f"{self.path} is a file; the results need a folder of their own.")
        self._refuse_foreign()
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / _LOCK):
            # Now that nobody else works here: another process may have begun in the meantime.
            if not (self.path / MANIFEST).exists():
                self._refuse_foreign()
                for name in (ADVICE, ERRORS, _DONE):
                    (self.path / name).mkdir(exist_ok=True)
                content = {"kind": "popk batch", "format": _FORMAT, "setting": setting, **described}
                write_sealed(self.path / MANIFEST, content)
            else:
                self._refuse_other(setting)
            yield

    def done(self, digests: Sequence[str]) -> dict[int, Part]:
        """The parts that are there and whole, by number.

        Raises
        ------
        StorageError
            When the source no longer holds what one of them was made of.
        """
        found: dict[int, Part] = {}
        for path in sorted((self.path / _DONE).glob("*.json")):
            part, files = _part(path)
            if part.number >= len(digests) or digests[part.number] != part.digest:
                raise StorageError(
                    f"The table has changed since {self.path} was begun: the patients of part "
                    f"{part.number} ({part.place}) are not the same any more. Give the new table a "
                    "folder of its own."
                )
            if all(self._whole(name, part.number, files[name]) for name in (ADVICE, ERRORS)):
                found[part.number] = part
        return found

    def write(
        self, chunk: Chunk, rows: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]
    ) -> Part:
        """Write what was found of a chunk, all or nothing."""
        sums = {}
        for name, content in ((ADVICE, rows), (ERRORS, errors)):
            place = self._file(name, chunk.number)
            write_atomically(place, self._writer(content, self.columns[name]))
            sums[name] = checksum(place)
        first, last = chunk.patients[0], chunk.patients[-1]
        held = [row for row in rows if not row.get("withheld")]
        part = Part(
            number=chunk.number,
            digest=chunk.digest,
            patients=len(rows),
            failed=len(chunk.patients) - len(rows),
            withheld=len(rows) - len(held),
            none=sum(row["longest"] != row["longest"] and bool(row["reliable"]) for row in held),
            unreliable=sum(not row["reliable"] for row in held),
            place=f"ID {first.id} to {last.id}, rows {first.first_row} to {last.last_row}",
        )
        # Last: where it is, the rest is.
        write_sealed(self._done(chunk.number), {"part": vars(part), "sha256": sums})
        return part

    def finish(self, described: Mapping[str, Any]) -> None:
        """Say in the manifest that all is done, and what came of it."""
        path = self.path / MANIFEST
        write_sealed(path, read_sealed(path, _ANOTHER) | dict(described))

    def frame(self, name: str) -> pd.DataFrame:
        """All parts of `ADVICE` or `ERRORS` as one table, in the order of the source."""
        import pandas as pd

        kinds = {"text": "str", "integer": "int64", "number": "float64"}
        types = {column: kinds[kind] for column, (kind, _, _) in self.columns[name].items()}
        texts = [column for column, kind in types.items() if kind == "str"]
        parts = []
        for path in sorted((self.path / name).glob(f"part-*.{self.form}")):
            if self.form == "parquet":
                part = pd.read_parquet(path)
            else:
                empty = {column: [""] for column in types if column not in texts}
                part = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=empty)
            parts.append(part.astype(types))
        return pd.concat([one for one in parts if len(one)] or parts[:1], ignore_index=True)

    def _whole(self, name: str, number: int, digest: str) -> bool:
        place = self._file(name, number)
        return place.is_file() and checksum(place) == digest

    def _file(self, name: str, number: int) -> Path:
        return self.path / name / f"part-{number:06d}.{self.form}"

    def _done(self, number: int) -> Path:
        return self.path / _DONE / f"{number:06d}.json"

    def _refuse_foreign(self) -> None:
        """Refuse a folder that holds what no batch has written before its manifest."""
        if (self.path / MANIFEST).exists() or not self.path.exists():
            return
        for one in self.path.iterdir():
            begun = one.name in (ADVICE, ERRORS, _DONE) and one.is_dir() and not any(one.iterdir())
            partial = one.name.startswith(f".{MANIFEST}.") and one.name.endswith(".partial")
            if not (begun or partial or one.name == _LOCK):
                raise StorageError(f"{self.path} holds other files. Give the results a new folder.")

    def _refuse_other(self, setting: Mapping[str, Any]) -> None:
        content = read_sealed(self.path / MANIFEST, _ANOTHER)
        if content.get("kind") != "popk batch" or content.get("format") != _FORMAT:
            raise StorageError(
                f"{self.path} was not written by this version of popk. Give another folder."
            )
        before = content["setting"]
        now = json.loads(json.dumps(setting))
        different = [f"the {name}" for name in now if before.get(name) != now[name]]
        if different:
            raise StorageError(
                f"{self.path} was begun with another setting: it differs in "
                f"{', '.join(different)}. Ask as before to go on, or give another folder."
            )

    def _writer(self, rows: Sequence[Mapping[str, Any]], columns: Columns) -> Any:
        if self.form == "csv":
            import pandas as pd

            frame = pd.DataFrame(list(rows), columns=list(columns))
            return lambda path: frame.to_csv(path, index=False, lineterminator="\n")
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
        schema = pa.schema(
            [
                pa.field(name, kinds[kind], metadata={"units": unit, "long_name": meaning})
                for name, (kind, unit, meaning) in columns.items()
            ],
            metadata={name: str(value) for name, value in self.about.items()},
        )
        table = pa.Table.from_pylist(list(rows), schema=schema)
        return lambda path: pq.write_table(table, path)


def _part(path: Path) -> tuple[Part, dict[str, str]]:
    """What is known of a chunk, and the digests of its files."""
    remedy = "Remove it: the same command then makes that part again."
    content = read_sealed(path, remedy)
    try:
        if set(content) != {"part", "sha256"}:
            raise TypeError(f"it has the fields {', '.join(content)}")
        part, files = Part(**content["part"]), dict(content["sha256"])
    except TypeError as fault:
        raise StorageError(f"{path} is damaged: {fault}. {remedy}") from fault
    if set(files) != {ADVICE, ERRORS} or path.stem != f"{part.number:06d}":
        raise StorageError(f"{path} is damaged: it is of another part. {remedy}")
    return part, files

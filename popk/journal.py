"""A folder's journal: an append-only log, each line of which carries the hash of the one before.

A line is a JSON object whose last two fields are ``before``, the hash of the line before it (zeros
in the first line), and ``hash``, the SHA-256 of the line without that field: of the UTF-8 text up
to ``, "hash"`` and a closing brace. Any entry may have ``files``, digests of files that were
written, and ``gone``, files that were taken away, by their names in the folder. What one line says
of a file holds until a later one says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from popk.storage import StorageError, checksum

__all__ = ["JOURNAL", "Entry", "Journal", "Known", "Told", "digest_of_text", "note_written"]

JOURNAL = "journal.jsonl"
_FIRST = "0" * 64
_MENDED = "mended"
_LINE = re.compile(rb'(?P<body>\{.*), "hash": "(?P<hash>[0-9a-f]{64})"\}')
_BLOCK = 1 << 16  # bytes at the end, which hold the last line but for very long ones
_UP = 3  # a file, its folder and the one above: report_files/tables/x.csv


@dataclass(frozen=True)
class Entry:
    """One line: its number from 0, and what it says; ``hash`` is that of the line."""

    number: int
    time: str
    event: str
    content: Mapping[str, Any]
    before: str
    hash: str


@dataclass(frozen=True)
class Known:
    """What is known of a file: its digest, in which line, and the digest before that line."""

    digest: str
    line: int
    earlier: str | None


@dataclass(frozen=True)
class Told:
    """What a journal tells.

    Attributes
    ----------
    entries
        The whole lines.
    faults
        A sentence for each place where it is not what was written.
    notes
        A sentence for each half-written line that popk found and closed.
    torn
        A sentence on a last line that is not whole, which `Journal.append` closes; else empty.
    """

    entries: tuple[Entry, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    torn: str = ""

    @property
    def head(self) -> str:
        """Hash of the last whole line, which all lines before it go into."""
        return self.entries[-1].hash if self.entries else _FIRST

    @property
    def files(self) -> dict[str, Known]:
        """What is to be in the folder now, by name."""
        found: dict[str, Known] = {}
        for line, entry in enumerate(self.entries, start=1):
            for name in entry.content.get("gone", ()):
                found.pop(name, None)
            for name, digest in entry.content.get("files", {}).items():
                earlier = found[name].digest if name in found else None
                found[name] = Known(digest, line, earlier)
        return found

    def is_announced(self, known: Known) -> bool:
        """Whether the last line tells of a file: its writing may have been cut short then."""
        return known.line == len(self.entries)

    def last(self, event: str) -> Entry | None:
        """The last entry of an event."""
        return next((entry for entry in reversed(self.entries) if entry.event == event), None)


@dataclass(frozen=True)
class Journal:
    """The journal of a folder, which need not have one."""

    folder: Path
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.folder / JOURNAL)

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.is_file()

    def append(
        self,
        event: str,
        *,
        files: Mapping[str, str] | None = None,
        gone: Iterable[str] = (),
        lasting: bool = False,
        **content: Any,
    ) -> str:
        """Add a line, which is the first where there is no journal yet; gives its hash.

        A half-written last line, as a process leaves it that was killed or whose disk was full,
        stays where it is: it is closed, and a line says so.

        Parameters
        ----------
        event
            What happened.
        files, gone
            Digests of files that were written (or are, next), and names of those taken away.
        lasting
            Whether to wait until it is on the disk. Chunks of draws do not: they name themselves.
        content
            More of it, as plain values.

        Raises
        ------
        StorageError
            When the last line is not what was written.
        """
        said: dict[str, Any] = {**content}
        if files:
            said["files"] = dict(files)
        if names := sorted(gone):
            said["gone"] = names
        with self.path.open("a+b") as file, _held(file):
            last, text = self._end(file)
            line, entry = _next(last, event, said)
            file.write(text + line)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        return entry.hash

    def read(self) -> Told:
        """What it tells, read as a whole; nothing where there is none.

        Raises
        ------
        OSError
            When it cannot be read.
        """
        if not self.exists:
            return Told()
        return _told(self.path.read_bytes())

    def _end(self, file: IO[bytes]) -> tuple[Entry | None, bytes]:
        """The last entry, and what closes a half-written line after it."""
        size = file.seek(0, os.SEEK_END)
        for start in sorted({max(0, size - _BLOCK), 0}, reverse=True):
            file.seek(start)
            last, lost = _cut(file.read())
            if last is not None:
                break
        if not lost:
            return last, b""
        if lost.endswith(b"\n"):
            raise StorageError(
                f"{self.path} is damaged at its end: popk verify {self.folder} says where. Restore "
                "it from a copy. Or move it away: a new one is begun, which says so."
            )
        whole = _entry(lost)
        if whole is not None and whole.before == (last.hash if last else _FIRST):
            return whole, b"\n"  # only the line's end is missing
        lost += b"\n"
        content = {"lost": hashlib.sha256(lost).hexdigest(), "bytes": len(lost)}
        line, mended = _next(last, _MENDED, content)
        return mended, b"\n" + line


def digest_of_text(text: str) -> str:
    """SHA-256 of a text as it is written to a file, in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def note_written(*paths: Path) -> None:
    """Take down, where they lie in a folder with a journal, that files were written or removed.

    Parameters
    ----------
    paths
        Files, and folders for all files in them; what is not there was removed.
    """
    found: dict[Path, dict[str, str | None]] = {}
    for path in paths:
        place = path.absolute()
        owner = next((one for one in place.parents[:_UP] if (one / JOURNAL).is_file()), None)
        if owner is None:
            continue
        files = [one for one in sorted(place.rglob("*")) if one.is_file()]
        for one in files if place.is_dir() else [place]:
            name = one.relative_to(owner).as_posix()
            found.setdefault(owner, {})[name] = checksum(one) if one.is_file() else None
    for owner, sums in found.items():
        journal = Journal(owner)
        known = {name: one.digest for name, one in journal.read().files.items()}
        new = {name: sum_ for name, sum_ in sums.items() if sum_ and known.get(name) != sum_}
        gone = [name for name, sum_ in sums.items() if sum_ is None and name in known]
        if new or gone:
            journal.append("written", files=new, gone=gone)


def _next(last: Entry | None, event: str, content: Mapping[str, Any]) -> tuple[bytes, Entry]:
    """A line, and what it says."""
    number = 0 if last is None else last.number + 1
    before = _FIRST if last is None else last.hash
    time = datetime.now(UTC).isoformat(timespec="seconds")
    said = {"number": number, "time": time, "event": event, **content, "before": before}
    body = json.dumps(said, ensure_ascii=False).encode()
    digest = hashlib.sha256(body).hexdigest()
    line = body[:-1] + f', "hash": "{digest}"}}\n'.encode()
    return line, Entry(number, time, event, said, before, digest)


def _entry(line: bytes) -> Entry | None:
    """What a line without its end says; None where it is not what was written."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    body, digest = match["body"] + b"}", match["hash"].decode()
    if hashlib.sha256(body).hexdigest() != digest:
        return None
    try:
        said = json.loads(body)
        _check_names(said)
        return Entry(
            int(said["number"]), str(said["time"]), str(said["event"]), said,
            str(said["before"]), digest,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError):  # hashed, but no line of popk
        return None


def _check_names(said: Mapping[str, Any]) -> None:
    names = [*said.get("files", {}), *said.get("gone", ())]
    digests = dict(said.get("files", {})).values()
    if not all(isinstance(text, str) for text in (*names, *digests)):
        raise TypeError("names and digests are text")


def _cut(content: bytes) -> tuple[Entry | None, bytes]:
    """The last whole entry, and what stands after it."""
    end = len(content)
    while (at := content.rfind(b"\n", 0, end)) >= 0:
        begin = content.rfind(b"\n", 0, at) + 1
        entry = _entry(content[begin:at])
        if entry is not None:
            return entry, content[at + 1 :]
        end = at
    return None, content


def _told(content: bytes) -> Told:
    entries: list[Entry] = []
    faults: list[str] = []
    notes: list[str] = []
    lost, since = b"", 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        entry = _entry(line)
        if entry is None:
            lost, since = lost + line + b"\n", since or number
            continue
        closes = entry.event == _MENDED and (
            entry.content.get("lost") == hashlib.sha256(lost).hexdigest()
        )
        if closes:
            notes.append(
                f"Line {since} of {JOURNAL} is half-written, as when a process is killed: "
                f"{len(lost)} bytes, of which nothing is known. popk closed it {entry.time}."
            )
        elif lost or entry.event == _MENDED:
            faults.append(f"Line {since or number} of {JOURNAL} is not what was written.")
        if entry.before != (entries[-1].hash if entries else _FIRST):
            faults.append(
                f"Line {number} of {JOURNAL} does not go on from the line before it: lines were "
                "changed, removed, added or exchanged."
            )
        entries.append(entry)
        lost, since = b"", 0
    if lost and not lines[-1]:  # else both are of one process that was killed as it closed a line
        faults.append(f"Line {since} of {JOURNAL} is not what was written.")
    torn = ""
    if lines[-1]:
        torn = (
            f"The last line of {JOURNAL} is not whole: a process was killed while it wrote, or the "
            "file was cut or changed. If a process was killed, the next popk command that writes "
            "here closes the line and says so."
        )
    elif not entries and not faults:
        faults.append(f"{JOURNAL} is empty.")
    return Told(tuple(entries), tuple(faults), tuple(notes), torn)


@contextmanager
def _held(file: IO[bytes]) -> Iterator[None]:
    """Have the file alone while the block runs; others wait."""
    _take(file)
    try:
        yield
    finally:
        _give(file)


if sys.platform == "win32":  # pragma: no cover - another system
    import msvcrt

    _BEHIND = 1 << 40  # the byte that is locked: a locked one cannot be read

    def _take(file: IO[bytes]) -> None:
        file.seek(_BEHIND)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)

    def _give(file: IO[bytes]) -> None:
        file.seek(_BEHIND)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _give(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)

"""A control stream as values: its records, parameters and code, read by pharmpy's parser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from popk.nonmem.refusal import NonmemError
from popk.nonmem.statements import Statement, statements_of

__all__ = ["ControlStream", "RandomBlock", "Record", "Theta", "parse"]

_MISSING = (
    "reading NONMEM control streams needs pharmpy, which is not installed here. Install it with "
    'pip install "popk[nonmem]".'
)
CODE = ("PK", "PRED", "DES", "ERROR", "AES", "INFN", "MIX")


@dataclass(frozen=True)
class Record:
    """One record: its full name without the dollar sign, its text, and where it begins (line)."""

    name: str
    text: str
    line: int

    @property
    def where(self) -> str:
        """How sentences call it."""
        return f"${self.name}, line {self.line}"


@dataclass(frozen=True)
class Theta:
    """A fixed effect: number from 1, value, bounds, whether it is fixed, and its comment's name."""

    number: int
    value: float
    low: float
    high: float
    fixed: bool
    label: str | None

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"THETA({self.number})" + (f" ({self.label})" if self.label else "")


@dataclass(frozen=True)
class RandomBlock:
    """A block of $OMEGA or $SIGMA: the number of its first effect, its covariance, and its kind.

    ``same`` counts which repetition of the block before it is (0: none).
    """

    first: int
    covariance: tuple[tuple[float, ...], ...]
    fixed: bool
    same: int = 0

    @property
    def size(self) -> int:
        """How many effects."""
        return len(self.covariance)

    @property
    def numbers(self) -> range:
        """Numbers of its effects."""
        return range(self.first, self.first + self.size)


@dataclass(frozen=True)
class ControlStream:
    """What pharmpy's parser finds in a control stream.

    ``code`` has the statements of each code record; ``columns`` are those of $INPUT in order, each
    with the name by which the code calls it, the other name if it has one, and whether it is
    dropped.
    """

    title: str
    records: tuple[Record, ...]
    thetas: tuple[Theta, ...]
    omegas: tuple[RandomBlock, ...]
    sigmas: tuple[RandomBlock, ...]
    code: Mapping[str, tuple[Statement, ...]]
    columns: tuple[tuple[str, str | None, bool], ...]
    advan: str | None
    trans: str
    compartments: tuple[tuple[str, tuple[str, ...]], ...]

    def first(self, name: str) -> Record | None:
        """The first record of a name, or None."""
        return next((record for record in self.records if record.name == name), None)

    def where(self, name: str) -> str:
        """Where a record begins, for sentences."""
        record = self.first(name)
        return record.where if record is not None else f"${name}"


def parse(text: str) -> ControlStream:
    """The control stream that a text is.

    Raises
    ------
    NonmemError
        When pharmpy is not installed or cannot read the text, or it has several problems.
    """
    try:
        from lark.exceptions import LarkError
        from pharmpy.model import ModelSyntaxError
        from pharmpy.model.external.nonmem.nmtran_parser import NMTranParser
    except ImportError as fault:
        raise NonmemError([_MISSING]) from fault
    _check_blocks(text)
    stream = None
    try:
        stream = NMTranParser().parse(text)
        return _of(stream)
    except (LarkError, ModelSyntaxError, ValueError, AttributeError, KeyError) as fault:
        if isinstance(fault, NonmemError):
            raise
        where = "" if stream is not None else _unreadable(text, LarkError)
        said = str(fault).strip().splitlines()
        detail = said[0].rstrip(".") if said else type(fault).__name__
        raise NonmemError(
            [f"pharmpy's parser cannot read it{where}: {detail}. Correct or simplify that record."]
        ) from fault


def _check_blocks(text: str) -> None:
    problems = re.findall(r"^[ \t]*\$PROB", text, flags=re.MULTILINE | re.IGNORECASE)
    if len(problems) == 1:
        return
    if problems:
        raise NonmemError(
            [f"it has {len(problems)} $PROBLEM records; give a control stream with one problem."]
        )
    raise NonmemError(
        ["it has no $PROBLEM record; give the text of a NONMEM control stream, or the path of one."]
    )


def _unreadable(text: str, error: type[Exception]) -> str:
    """Where the record begins that the parser cannot read."""
    from pharmpy.model.external.nonmem.records.factory import create_record

    line = 1
    for chunk in re.split(r"^(?=[ \t]*\$)", text, flags=re.MULTILINE):
        if chunk.lstrip().startswith("$"):
            try:
                create_record(chunk)
            except (error, ValueError):
                return f" (the record that begins in line {line})"
        line += chunk.count("\n")
    return ""


def _of(stream: Any) -> ControlStream:
    records, code = [], {}
    replaced = {a.upper(): b.upper() for a, b in stream.abbreviated.replace.items()}
    line = 1
    for record in stream.records:
        text = str(record)
        at = line + text[: len(text) - len(text.lstrip())].count("\n")
        if record.name:  # none: what stands before the first record
            records.append(Record(_name(record), text, at))
            if record.name in CODE[:4]:
                if record.name in code:
                    raise NonmemError([f"it has two ${record.name} records; join them."])
                code[record.name] = tuple(statements_of(record.root, record.name, line, replaced))
        line += text.count("\n")
    subroutines = stream.get_records("SUBROUTINES")
    models = stream.get_records("MODEL")
    problems = stream.get_records("PROBLEM")
    return ControlStream(
        title=" ".join(str(problems[0].title).split()) if problems else "",
        records=tuple(records),
        thetas=tuple(_thetas(stream)),
        omegas=tuple(_blocks(stream, "OMEGA")),
        sigmas=tuple(_blocks(stream, "SIGMA")),
        code=code,
        columns=tuple(_columns(stream)),
        advan=subroutines[0].advan if subroutines else None,
        trans=subroutines[0].trans if subroutines else "TRANS1",
        compartments=tuple((n, tuple(o)) for n, o in models[0].compartments()) if models else (),
    )


def _name(record: Any) -> str:
    """The full name of a record that pharmpy has no class for is what the user wrote."""
    return str(record.name).upper()


def _thetas(stream: Any) -> Iterator[Theta]:
    number = 0
    for record in stream.get_records("THETA"):
        given = zip(record.inits, record.bounds, record.fixs, record.comment_names, strict=True)
        for value, (low, high), fixed, label in given:
            number += 1
            held = bool(fixed) or low == high == value
            yield Theta(number, float(value), float(low), float(high), held, label)


def _blocks(stream: Any, name: str) -> Iterator[RandomBlock]:
    first, last = 1, None
    for record in stream.get_records(name):
        # pharmpy does not count the repetitions of SAME(n).
        times = re.search(r"\bSAME\s*\(\s*(\d+)\s*\)", str(record), flags=re.IGNORECASE)
        for _, values, fixed, same in record.parse():
            if same:
                if last is None:
                    raise NonmemError([f"its first ${name} block is SAME, as none before it."])
                for _ in range(int(times[1]) if times else 1):
                    last = RandomBlock(first, last.covariance, last.fixed, last.same + 1)
                    yield last
                    first += last.size
                continue
            last = RandomBlock(first, _square(values), bool(fixed))
            yield last
            first += last.size


def _square(values: list[float]) -> tuple[tuple[float, ...], ...]:
    """A covariance matrix from its lower triangle, row by row."""
    size = round(((8 * len(values) + 1) ** 0.5 - 1) / 2)
    rows = [[0.0] * size for _ in range(size)]
    given = iter(values)
    for i in range(size):
        for j in range(i + 1):
            rows[i][j] = rows[j][i] = float(next(given))
    return tuple(tuple(row) for row in rows)


def _columns(stream: Any) -> Iterator[tuple[str, str | None, bool]]:
    for record in stream.get_records("INPUT"):
        for key, value in record.all_options:
            first, second = key.upper(), value.upper() if value else None
            dropping = {"DROP", "SKIP"}
            if first in dropping:
                yield second or "", None, True
            elif second in dropping:
                yield first, None, True
            else:
                yield first, second, False

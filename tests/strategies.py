"""What the tests draw at random: event tables, models, regimens, and damage to files.

Known to them as ``popk_strategies``. Mutations take a NumPy generator, so that thousands of them
are the same every time; the rest are strategies of Hypothesis.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from popk.dataset import read_dataset
from popk.model import PopModel
from popk.regimen import Regimen
from popk.statistics import (
    IIV,
    Additive,
    Combined,
    Fold,
    HalfNormal,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Proportional,
)
from popk.structure import (
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    ThreeCompartment,
    TwoCompartment,
)

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ADA": "1"}

# Cells that spreadsheets, other programs and people write.
CELLS = (
    "", ".", "NA", "NaN", "nan", " ", "na", "N/A", "#N/A", "null", "None", "-", "?", "missing",
    "0", "1", "2", "3", "4", "5", "-1", "-2", "-3", "-99", "-999", "99", "100", "0.0", "1.0", "+1",
    "1e3", "1E-3", "1e400", "1e-400", "inf", "-inf", "Infinity", "1,5", "1.234,5", "1,234.5",
    "1 234", "1'234", "1_000", "0x10", "1e", "--1", "١", "½", "1½", "12 h", "5mg", "<0.5", ">12",
    "BLQ", "LLOQ", "TRUE", "FALSE", "2026-05-28", "28.05.2026", "05/28/2026", "8:30", "1-Feb",
    "Jan-05", "45323.5", "#DIV/0!", "=A1+1", "'1", '"', '""', "\\N", "\u00a01", "1\u00a0",
    "\ufeff1", "1\u200b", "C", "ID", "TIME", "a" * 300,
)  # fmt: skip
_BYTES = b"0123456789.,;-+eE\t\n\r\"' \x00\x0b\x0c\x1c\x85\xa0\xff\xfe\xef\xbb\xbfaZ#<>|"


def table(n_subjects=4, *, mark=",", decimal="."):
    """A valid table as text: doses that repeat, an infusion, samples, one of them BLQ."""
    header = "ID,TIME,EVID,AMT,RATE,ADDL,II,SS,CMT,DV,MDV,CENS,LLOQ,WT,ADA,NOTE"
    lines = [header]
    for k in range(1, n_subjects + 1):
        covariates = f"{60 + 1.5 * k:g},{k % 2},x"
        rows = [
            (0, 1, 300 + k, 100 * (k % 2), 2, 12, 0, 1, ".", 1, 0, "."),
            (1, 0, ".", 0, 0, 0, 0, 2, 9 + k / 10, 0, 0, 0.5),
            (6.25, 0, ".", 0, 0, 0, 0, 2, 3 + k / 10, 0, 0, 0.5),
            (36, 1, 250, 0, 0, 0, 0, 1, ".", 1, 0, "."),
            (40, 0, ".", 0, 0, 0, 0, 2, 0.5, 0, 1, 0.5),
            (48, 0, ".", 0, 0, 0, 0, 2, ".", 1, 0, "."),
        ]
        lines += [",".join(map(str, (k, *row))) + f",{covariates}" for row in rows]
    text = "\n".join(lines) + "\n"
    if mark != ",":
        text = text.replace(".,", "\0,") if decimal == "," else text
        text = text.replace(",", mark)
        text = text.replace(".", decimal).replace("\0", ".") if decimal == "," else text
    return text


def mutated(rng, content, mark=b","):
    """A few mutations of a table's bytes: of bytes, cells, rows or columns."""
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice(("byte", "cell", "row", "column"), p=(0.4, 0.4, 0.15, 0.05))
        if kind == "byte":
            content = bytes_mutated(rng, content)
        else:
            content = _MUTATIONS[kind](rng, content, mark)
    return content


def bytes_mutated(rng, content):
    """One byte flipped, put in, taken out or doubled, or a stretch of them."""
    at = int(rng.integers(0, len(content) + 1))
    other = bytes([_BYTES[int(rng.integers(len(_BYTES)))]])
    end = min(len(content), at + int(rng.choice((1, 1, 1, 5, 200))))
    match rng.integers(5):
        case 0:
            return content[:at] + other + content[at + 1 :]
        case 1:
            return content[:at] + other + content[at:]
        case 2:
            return content[:at] + content[end:]
        case 3:
            return content[:end] + content[at:end] + content[end:]
        case _:
            flipped = content[at : at + 1]
            flipped = bytes([flipped[0] ^ (1 << int(rng.integers(8)))]) if flipped else b""
            return content[:at] + flipped + content[at + 1 :]


def _cell(rng, content, mark):
    lines = content.split(b"\n")
    at = int(rng.integers(len(lines)))
    cells = lines[at].split(mark)
    new = CELLS[int(rng.integers(len(CELLS)))].encode()
    if rng.random() < 0.3:
        new = b'"' + new.replace(b'"', b'""') + b'"'
    if rng.random() < 0.3:  # another cell of the table
        others = lines[int(rng.integers(len(lines)))].split(mark)
        new = others[int(rng.integers(len(others)))]
    cells[int(rng.integers(len(cells)))] = new
    lines[at] = mark.join(cells)
    return b"\n".join(lines)


def _row(rng, content, mark):
    del mark
    lines = content.split(b"\n")
    i, j = (int(k) for k in rng.integers(0, len(lines), 2))
    match rng.integers(4):
        case 0:
            lines[i], lines[j] = lines[j], lines[i]
        case 1:
            lines.insert(i, lines[j])
        case 2:
            del lines[i]
        case _:
            lines.insert(i, b"")
    return b"\n".join(lines)


def _column(rng, content, mark):
    rows = [line.split(mark) for line in content.split(b"\n")]
    width = len(rows[0])
    i, j = (int(k) for k in rng.integers(0, width, 2))
    if rng.random() < 0.5:
        order = [k for k in range(width) if k != i]
    else:
        order = list(range(width))
        order[i], order[j] = order[j], order[i]
    return b"\n".join(
        mark.join(row[k] for k in order) if len(row) == width else mark.join(row) for row in rows
    )


_MUTATIONS = {"cell": _cell, "row": _row, "column": _column}

# What stands in the place of a part of a JSON or TOML document.
VALUES = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-300, 1e300, 10**9, -(10**9), 10**400, "", " ",
    "x", "CL", "V", "WT", "LogNormal", "Fixed", "os.system", "__import__('os')", "eval", "a\0b",
    "\ud800", [], {}, [1], [[]], ["CL", "V"], {"a": 1}, {"type": "Fixed", "value": 0.5},
    {"type": "object"}, {"type": ["Fixed"]}, {"type": "HalfNormal", "scale": 0.3},
)  # fmt: skip


def json_mutated(rng, content):
    """A JSON value with a part replaced, renamed, taken out or doubled; and the way to it."""
    content = json.loads(json.dumps(content))
    ways = list(_ways(content))
    way = ways[int(rng.integers(len(ways)))]
    if not way:
        return VALUES[int(rng.integers(len(VALUES)))], way
    holder = content
    for key in way[:-1]:
        holder = holder[key]
    last, new = way[-1], VALUES[int(rng.integers(len(VALUES)))]
    if isinstance(holder[last], int | float) and rng.random() < 0.5:
        new = holder[last] * float(rng.choice((-1.0, 0.0, 0.5, 1.5, 1e6)))
    match rng.integers(6):
        case 0 | 1 | 2:
            holder[last] = new
        case 3:
            del holder[last]
        case 4 if isinstance(holder, dict):
            holder[f"{last}x"] = holder.pop(last)
        case _ if isinstance(holder, list):
            holder.append(holder[last])
        case _:
            holder[f"{last}2"] = new
    return content, way


def _ways(content, before=()):
    yield before
    pairs = content.items() if isinstance(content, dict) else ()
    pairs = enumerate(content) if isinstance(content, list) else pairs
    for key, part in pairs:
        yield from _ways(part, (*before, key))


@st.composite
def regimens(draw):
    """Regimens, boluses and infusions."""
    interval = draw(st.sampled_from([6.0, 12.0, 24.0, 672.0]))
    return Regimen(
        amount=draw(st.sampled_from([0.5, 100.0, 1e4])),
        interval=interval,
        repeats=draw(st.integers(1, 6)),
        duration=draw(st.sampled_from([0.0, 1.0, interval, 1.5 * interval])),
        start=draw(st.sampled_from([0.0, 3.5])),
    )


_STRUCTURES = (
    OneCompartment(),
    OneCompartment(FirstOrder()),
    OneCompartment(elimination=MichaelisMenten()),
    TwoCompartment(),
    TwoCompartment(FirstOrder()),
    ThreeCompartment(),
)


@st.composite
def models(draw):
    """Models: structures, priors, variability, covariates and residual errors in any mixture."""
    structure = draw(st.sampled_from(_STRUCTURES))
    names = structure.names
    medians = {p.name: p.example for p in structure.parameters}
    widths = st.sampled_from([0.05, 0.3, 1.5])
    varying = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    effects = []
    if draw(st.booleans()):
        effects.append(Power(names[0], "WT", reference=70, exponent=Normal(0.75, draw(widths))))
    if draw(st.booleans()):
        effects.append(Fold(names[-1], "ADA", LogNormal(2.0, cv=draw(widths))))
    error = draw(
        st.sampled_from(
            (
                Proportional(HalfNormal(0.3)),
                Additive(HalfNormal(1.0)),
                Combined(HalfNormal(0.3), HalfNormal(1.0)),
                LogNormalError(HalfNormal(0.3)),
            )
        )
    )
    return PopModel(
        structure,
        typical={name: LogNormal(medians[name], cv=draw(widths)) for name in names},
        iiv=IIV({name: HalfNormal(draw(widths)) for name in varying}),
        covariates=effects,
        error=error,
        units=UNITS,
        name=draw(st.text(st.characters(codec="utf-8"), max_size=8)),
    )


@st.composite
def subject_records(draw):
    """Records of one subject in order of time: doses of every kind, samples, BLQ, other events."""
    times = draw(st.lists(st.integers(1, 400).map(lambda k: k / 4), min_size=1, max_size=8))
    weight = draw(st.sampled_from([48.5, 70.0, 103.0]))
    found = [_dose(draw, 0.0)]
    for time in sorted(times):
        kind = draw(st.sampled_from(["sample", "sample", "dose", "blq", "look"]))
        if kind == "dose":
            found.append(_dose(draw, time))
        else:
            dv = {"sample": draw(st.floats(0.51, 90.0).map(lambda v: round(v, 3))),
                  "blq": 0.5}.get(kind, np.nan)  # fmt: skip
            found.append({"TIME": time, "EVID": 0, "DV": dv, "MDV": int(kind == "look"),
                          "CENS": int(kind == "blq")})  # fmt: skip
    return [{"WT": weight, "ADA": 0.0, "LLOQ": 0.5, **record} for record in found]


def _dose(draw, time):
    addl = draw(st.sampled_from([0, 0, 1, 3]))
    steady = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return {
        "TIME": time, "EVID": 1, "AMT": draw(st.sampled_from([50.0, 250.0])),
        "RATE": draw(st.sampled_from([0.0, 0.0, 25.0])), "ADDL": addl,
        "II": 12.0 if addl or steady else 0.0, "SS": steady, "MDV": 1,
    }  # fmt: skip


@st.composite
def event_tables(draw):
    """Event tables of up to four subjects that popk reads, as data frames."""
    subjects = draw(st.lists(subject_records(), min_size=1, max_size=4))
    seen = any(record["MDV"] == 0 for subject in subjects for record in subject)
    if not seen:
        subjects[0].append({**subjects[0][-1], "TIME": 200.0, "EVID": 0, "AMT": np.nan,
                            "RATE": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "DV": 7.0, "MDV": 0,
                            "CENS": 0})  # fmt: skip
    rows = [{"ID": f"S{k}", **record} for k, subject in enumerate(subjects) for record in subject]
    frame = pd.DataFrame(rows)
    fillers = {"RATE": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CENS": 0}
    names = ["ID", "TIME", "EVID", "AMT", *fillers, "DV", "MDV", "LLOQ", "WT", "ADA"]
    return frame.reindex(columns=names).fillna(fillers)


def read(frame, units=UNITS, **settings):
    """The data set of a frame."""
    return read_dataset(frame, units=units, **settings)

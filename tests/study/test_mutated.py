"""Damaged study files: a sentence, or a study that says what the file says."""

import time
import tomllib

import numpy as np
import pytest
from popk_strategies import bytes_mutated

from popk.study import StudyError, make_ready, read_study

LONGEST = 10.0  # seconds of CPU for one file
WHOLE = """\
seed = 20261123
title = "A study"
out = "results"

[data]
path = "cohort.csv" # seen from this file
units = { time = "d", amount = "mg", concentration = "mg/L", WT = "kg" }
columns = { DV = "CONC" }
carry = "locf"
missing = { WT = "median" }
given = { time = "h" }
separator = ";"
decimal = ","
dates = { date = "DATE", format = "%d.%m.%Y", zone = "Europe/Berlin" }

[models.weight]
model = "natalizumab"
draws = 500
chains = 2

[models.plain]
model = "plain.json"
method = "nuts"
target_accept = 0.9

[comparison]
by = ["patient", "future"]
refit = false

[checks]
robustness = false

[advice]
patients = "new_patients.csv"
target = [10, 5]
probability = 0.9
weeks = "4:8"
models = ["weight"]

[report]
files = true
"""
WORDS = (
    "0", "-1", "1e999", "nan", "inf", "true", '""', '" "', "[]", "{}", '["a", "a"]', "[4, 3]",
    '"4:99999999999"', '"' + "9" * 5000 + ':1"', "9" * 5000, "0x" + "f" * 5000, "1979-05-27",
    "07:32:00", '"hex"', '"a\\u0000b"', '"%d.%d"', '"%H"', '"Europe"', '"../.."', "[[[1]]]",
    "{ a = { b = 1 } }", '"' + "x" * 10_000 + '"', "[" * 2000, "1_000", "+5", '"""', "'''x'''",
)  # fmt: skip


def mutated(rng, text):
    if rng.random() < 0.5:
        return bytes_mutated(rng, text.encode())
    lines = text.split("\n")
    at = int(rng.integers(len(lines)))
    key, equals, _ = lines[at].partition("=")
    word = WORDS[int(rng.integers(len(WORDS)))]
    match rng.integers(4):
        case 0 if equals:
            lines[at] = f"{key}= {word}"
        case 1:
            del lines[at]
        case 2:
            lines.insert(int(rng.integers(len(lines))), lines[at])
        case _:
            lines[at] = lines[at].replace("a", "x", 1)
    return "\n".join(lines).encode()


def outcome(path, content, work=read_study):
    """What is made of a file, or None where it is refused in a sentence."""
    path.write_bytes(content)
    began = time.process_time()
    found, said = None, ""
    try:
        found = work(path)
    except StudyError as fault:
        said = str(fault).strip()
    assert (found is None) == bool(said)
    assert time.process_time() - began < LONGEST
    return found


def assert_says(study, content):
    """The study holds what the file says, by the reader of Python itself."""
    top = tomllib.loads(content.decode("utf-8-sig"))
    assert study.seed == top["seed"]
    assert set(study.models) == set(top["models"])
    assert study.title == top.get("title", "")
    told = top["data"]
    for name in ("path", "units", "columns", "carry", "missing", "given"):
        assert study.data.get(name) == told.get(name)
    for name, table in top["models"].items():
        assert study.models[name].source == table["model"]
        for key in set(table) - {"model", "method"}:
            assert getattr(study.models[name].method, key) == table[key]
    if "layout" in study.data:
        assert study.data["layout"].decimal == told.get("decimal", ".")
    asked = top.get("advice")
    assert (study.advice is None) == (asked is None)
    if asked is not None:
        target = asked["target"]
        assert list(study.advice.target) == (target if isinstance(target, list) else [target])
        assert study.advice.probability == asked.get("probability", 0.9)


def check(folder, n, seed):
    rng = np.random.default_rng(seed)
    read = 0
    for _ in range(n):
        content = mutated(rng, WHOLE)
        study = outcome(folder / "study.toml", content)
        if study is not None:
            read += 1
            assert_says(study, content)
    return read


def test_the_whole_file_is_a_study(tmp_path):
    study = outcome(tmp_path / "study.toml", WHOLE.encode())
    assert_says(study, WHOLE.encode())
    assert study.advice.weeks == (4, 5, 6, 7, 8)


def test_300_damaged_files(tmp_path):
    assert 20 < check(tmp_path, 300, seed=1) < 280


@pytest.mark.slow
def test_5000_damaged_files(tmp_path):
    assert 500 < check(tmp_path, 5000, seed=2) < 4500


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("20261123", "9" * 5000, "is not TOML"),
        ("20261123", "[" * 5000, "is not TOML"),
        ("20261123", "0x" + "f" * 5000, "a number of thousands of digits"),
        ('"4:8"', '"4:99999999999"', "at most 1000"),
        ('"4:8"', '"' + "9" * 5000 + ':4"', "rising, at most 1000"),
        ("[10, 5]", "[1" + "0" * 400 + "]", "a trough above zero"),
        ('"locf"', '"' + "x" * 5000 + '"', "x…; expected"),
        ('separator = ";"', 'separator = ";"\nencoding = "hex"', "does not know as one of text"),
        ('"%d.%m.%Y"', '"%d.%d.%Y"', "year, month and day"),
        ('"Europe/Berlin"', '"Europe"', "no time zone"),
        ('"cohort.csv"', '"a\\u0000b.csv"', "expected a file"),
    ],
)
def test_values_that_cannot_be_used_are_named(tmp_path, old, new, said):
    path = tmp_path / "study.toml"
    path.write_text(WHOLE.replace(old, new), encoding="utf-8")
    with pytest.raises(StudyError, match=said):
        read_study(path)


def test_a_heading_of_blanks_takes_no_time(tmp_path):
    text = WHOLE.replace(
        'title = "A study"', 'title = "A study"\nx = """\n[' + " " * 60_000 + '\n"""'
    )
    assert outcome(tmp_path / "study.toml", text.encode()) is None


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StudyError, match="cannot be opened"):
        read_study(tmp_path / ("x" * 300 + ".toml"))


@pytest.mark.slow
def test_data_and_models_of_damaged_studies(tmp_path):
    """What is looked up afterwards is refused in sentences, too."""
    whole = """\
seed = 1
[data]
path = "cohort.csv"
[models.own]
model = "natalizumab"
draws = 50
[advice]
patients = "cohort.csv"
target = 10
"""
    (tmp_path / "cohort.csv").write_text(
        "ID,TIME,EVID,AMT,DV,WT\n" + "".join(
            f"{k},0,1,300,,{60 + k}\n{k},28,0,,{20 + k},{60 + k}\n" for k in (1, 2, 3)
        )
    )  # fmt: skip
    rng = np.random.default_rng(3)

    def ready(path):
        return make_ready(read_study(path))

    assert outcome(tmp_path / "study.toml", whole.encode(), ready) is not None
    read = sum(
        outcome(tmp_path / "study.toml", mutated(rng, whole), ready) is not None for _ in range(400)
    )
    assert 20 < read < 380

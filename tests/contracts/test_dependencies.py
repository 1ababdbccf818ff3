"""What popk rests on: every package pinned and accounted for, and nothing read that can run code.

No list of known vulnerabilities is asked here: the tests work offline.
"""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([\w.-]+)==([\w.!+]+)$", re.MULTILINE)

# Calls that run what they read, by their dotted end; and where each is, with what it reads.
UNSAFE = re.compile(
    r"(^|\.)(pickle|marshal|dill|joblib|torch|yaml|shelve|cloudpickle)\.(loads?|unsafe_load|open)$"
    r"|(^|\.)read_pickle$|^(eval|exec)$|^os\.(system|popen)$|(^|\.)(extractall|unpack_archive)$"
)
ALLOWED = {
    ("popk/batch/worker.py", "pickle.load"): "from the process that started this one, by a pipe",
    ("popk/batch/workers.py", "pickle.load"): "from a process that popk started, by a pipe",
    ("popk/batch/cluster.py", "pickle.loads"): "from a Dask cluster, which is trusted",
    ("popk/inference/density/code.py", "exec"): "code that popk wrote, of no model's text",
}
FLAGS = {"allow_pickle", "shell"}  # keywords that must not be true


def pins():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in PINNED.findall(text)}


@cache
def closure():
    """Everything that popk with all its extras brings along here, and what builds it, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    texts = [
        *project["project"]["dependencies"],
        *(text for extra in extras for text in extra),
        *project["build-system"]["requires"],
    ]
    left, seen, found = [Requirement(text) for text in texts], set(), set()
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = map(Requirement, distribution(name).requires or ())
            except PackageNotFoundError:
                continue
            found.add(name)
            place = {"extra": extra}
            left += [own for own in needs if own.marker is None or own.marker.evaluate(place)]
    return found


def test_all_that_is_brought_along_is_pinned_and_installed_as_pinned():
    pinned, found = pins(), closure()
    assert len(found) > 100
    assert not sorted(found - set(pinned)), "not pinned in constraints.txt"
    other = {name: distribution(name).version for name in found}
    assert {name: version for name, version in other.items() if pinned[name] != version} == {}


def test_nothing_is_pinned_that_nothing_needs():
    installed = set()
    for name in pins():
        try:
            distribution(name)
        except PackageNotFoundError:  # of another system
            continue
        installed.add(name)
    assert sorted(installed - closure()) == []


def licence_of(name):
    """What a package says of its licence."""
    about = distribution(name).metadata
    named = [one for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    return " ".join([about.get("License-Expression") or "", about.get("License") or "", *named])


def test_every_package_says_its_licence():
    silent = [name for name in sorted(closure()) if not licence_of(name).strip()]
    files = {name: [str(one) for one in distribution(name).files or ()] for name in silent}
    assert [
        name for name, own in files.items() if not re.search(r"(?i)licen[cs]e|copying", str(own))
    ] == []


def test_the_installed_packages_go_together():
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named pip" in done.stderr:
        pytest.skip("not run: pip is not installed here")
    assert done.returncode == 0, done.stdout


def unsafe(source):
    """(line, call) of everything in a module that may run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if UNSAFE.search(name):
            yield node.lineno, name
        for given in node.keywords:
            safe = isinstance(given.value, ast.Constant) and not given.value.value
            if given.arg in FLAGS and not safe:
                yield node.lineno, f"{name}({given.arg}=...)"


def test_nothing_that_is_read_can_run_code_but_where_it_is_said():
    found = {}
    for folder in ("popk", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith("popk/models/"):
                continue
            for line, call in unsafe(path.read_text(encoding="utf-8")):
                found[name, call] = line
    assert set(found) == set(ALLOWED), found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import pickle\npickle.loads(x)", 1),
        ("pd.read_pickle(x)", 1),
        ("eval(x)", 1),
        ("np.load(x, allow_pickle=True)", 1),
        ("np.load(x, allow_pickle=False)", 0),
        ("subprocess.run(x, shell=flag)", 1),
        ("archive.extractall()", 1),
        ("yaml.safe_load(x); model.eval(); json.load(x)", 0),
    ],
)
def test_what_is_looked_for_is_found(source, count):
    assert len(list(unsafe(source))) == count

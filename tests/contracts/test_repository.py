"""What the repository's own files promise each other."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "the host of a package registry": "|".join(
        re.escape(host)
        for host in (
            "py" + "pi.org",
            "python" + "hosted.org",
            "ana" + "conda.org",
            "py" + "pi.python",
        )
    ),
    "a choice of package index": "--(?:extra-)?" + "index-url|--find" + "-links",
    "a path of one machine": r"(?<![\w.<])/(?:"
    + "wo"
    + "rk|ro"
    + "ot|tm"
    + r"p|(?:home|Users)/\w+)\b",
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins() -> dict[str, str]:
    """The constraints as {canonical name: version}; fails on a line that is not name==version."""
    lines = [line for line in read("constraints.txt").splitlines() if line and line[0] != "#"]
    matches = [re.fullmatch(r"([\w.-]+)==([\w.!+]+)", line) for line in lines]
    assert all(matches), [line for line, m in zip(lines, matches, strict=True) if not m]
    return {canonicalize_name(m[1]): m[2] for m in matches if m}


def direct_dependencies() -> list[Requirement]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    texts = [
        *project["dependencies"],
        *(text for extra in extras for text in extra),
        *PROJECT["build-system"]["requires"],
    ]
    return [Requirement(text) for text in texts]


def ci_commands() -> list[str]:
    return re.findall(r"^make [a-z-]+$", read(".ci/run"), flags=re.MULTILINE)


def tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not run: this is not a git checkout, or git is not installed")
    listed = subprocess.run(
        [git, "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("requirement", direct_dependencies(), ids=str)
def test_each_direct_dependency_has_a_lower_bound_and_a_pin_within_it(requirement):
    assert any(bound.operator == ">=" for bound in requirement.specifier)
    pinned = pins()
    name = canonicalize_name(requirement.name)
    assert name in pinned, f"constraints.txt does not pin {name}"
    assert requirement.specifier.contains(pinned[name])


def test_contributing_gives_exactly_the_commands_of_ci():
    commands = ci_commands()
    assert commands
    blocks = re.findall(r"```sh\n(.*?)```", read("CONTRIBUTING.md"), flags=re.DOTALL)
    assert "\n".join(commands) in [block.strip() for block in blocks]


def test_each_command_of_ci_is_a_make_target_with_help():
    for command in ci_commands():
        target = command.removeprefix("make ")
        assert re.search(rf"^{target}:.* ## \S", read("Makefile"), flags=re.MULTILINE), target


@pytest.mark.parametrize("tool", sorted(PROJECT["tool"]))
def test_each_configured_tool_is_run_by_ci(tool):
    module = {"setuptools": ".ci/check_wheel.py"}.get(tool, f"-m {tool}")
    targets = {command.removeprefix("make ") for command in ci_commands()}
    rules = re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", read("Makefile"), flags=re.MULTILINE)
    assert any(module in recipe for target, recipe in rules if target in targets)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what):
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # figures and other binary files
        found += [
            f"{path.relative_to(ROOT)}:{number} holds {what}: {match[0]}"
            for number, line in enumerate(lines, start=1)
            if (match := re.search(FORBIDDEN[what], line))
        ]
    assert not found, "\n" + "\n".join(found)


def test_the_patterns_find_what_they_are_for():
    machine = FORBIDDEN["a path of one machine"]
    for text in ("cd /" + "tmp/x", '"/' + 'root"', "/" + "home/ann/popk", "(/" + "work/main)"):
        assert re.search(machine, text)
    for text in ("../" + "work/x", "per/" + "root", "</" + "root>", "/" + "homework", "mg/L"):
        assert not re.search(machine, text)
    assert re.search(FORBIDDEN["the host of a package registry"], "https://py" + "pi.org/simple")
    assert re.search(FORBIDDEN["a choice of package index"], "pip --extra-" + "index-url=x")


def fake_python(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def find_python(*folders: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / ".ci/find-python")],
        env={"PATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )


OLD = "printf '3.11.7 '; exit 1"
BARE = "printf '3.12.3 '; exit 1"
BROKEN = "exit 127"
GOOD = "printf '3.13.0 '"


def test_an_older_python_alone_is_refused_in_one_sentence(tmp_path):
    old = fake_python(tmp_path, "python3", OLD)
    done = find_python(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"popk needs Python 3.12 or newer; found 3.11.7 at {old}. Install one and run make again.\n"
    )


def test_a_python_without_venv_is_refused_by_name(tmp_path):
    fake_python(tmp_path, "python3.12", BARE)
    done = find_python(tmp_path)
    assert done.returncode == 2
    assert "lacks the venv or ensurepip module" in done.stderr


def test_no_python_at_all_is_said(tmp_path):
    done = find_python(tmp_path)
    assert done.returncode == 2
    assert "found none on the PATH" in done.stderr


def test_older_and_broken_pythons_are_passed_over(tmp_path):
    fake_python(tmp_path / "a", "python3", OLD)
    fake_python(tmp_path / "a", "python3.13", BROKEN)
    good = fake_python(tmp_path / "b c", "python3.13", GOOD)
    done = find_python(tmp_path / "a", tmp_path / "b c")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{good}\n", "")


def test_the_python_running_the_tests_would_be_chosen(tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    done = find_python(tmp_path)
    assert done.stdout == f"{tmp_path / 'python'}\n", done.stderr

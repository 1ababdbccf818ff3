"""The site's own modules, and the site built without running its blocks."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = (  # what the site is written from, beside docs/
    "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks", "notebooks", "tests", ".git",
)  # fmt: skip


@pytest.fixture(scope="session")
def extension():
    """The function that imports a module of docs/_extensions by its name."""
    folder = str(ROOT / "docs" / "_extensions")
    sys.path.insert(0, folder)
    yield import_module
    sys.path.remove(folder)


def build(folder, *options):
    """Build the site from a copy of its sources in `folder`; return where it lies."""
    ignored = shutil.ignore_patterns(
        "_build", "reference", "validation", "tutorials", "__pycache__"
    )
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
    for name in READ:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    site = folder / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, *options, str(folder / "docs"), str(site)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return site


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site with no block run: seconds, most of them for the reference."""
    return build(tmp_path_factory.mktemp("site"), "-j", "2", "-D", "nb_execution_mode=off")


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory):
    """The site as `make docs` builds it: every block run."""
    return build(tmp_path_factory.mktemp("whole"), "-j", "2")

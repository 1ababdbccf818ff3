"""Build popk's wheel from a copy of the sources, install it elsewhere and import all of it.

The fresh environment sees the dependencies of the environment that runs this script, but not its
editable popk: a module or data file that the wheel lacks cannot be found in the checkout instead.
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"popk": "popk", "models": "popk/models"}  # folder here: folder in the wheel
SUFFIXES = {".py", ".csv", ".md", ".html", ".j2", ".css", ".js", ".typed"}

IMPORT_ALL = """
import importlib, pkgutil, sys
from pathlib import Path
import popk
import popk.models

here = Path(sys.prefix).resolve()
modules = [popk] + [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(popk.__path__, "popk.")
    if not info.name.endswith("__main__")
]
for module in modules:
    if not Path(module.__file__).resolve().is_relative_to(here):
        sys.exit(f"{module.__name__} was imported from {module.__file__}, not from the wheel.")
print(f"{len(modules)} modules imported from the wheel.")
"""


def build(folder: Path) -> Path:
    """Return the path of the wheel, built in `folder` from a copy of the sources."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        copy2(ROOT / name, source)
    for name in SOURCES:
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(
        [*command, str(source)], check=False, capture_output=True, text=True, cwd=folder
    )
    if done.returncode:
        sys.exit(f"The wheel was not built:\n{done.stdout}{done.stderr}")
    (wheel,) = folder.glob("popk-*.whl")
    return wheel


def missing_files(wheel: Path) -> list[str]:
    """Return the source and data files of popk that the wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in SOURCES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }
    return sorted(expected - packed)


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a new environment in `folder` and return its folder of scripts."""
    venv.create(folder, symlinks=True, with_pip=False)
    scripts = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python")]
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    # A folder named in a .pth file is searched, but its own .pth files, among them the one of the
    # editable installation, are not read.
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts


def main() -> None:
    """Check the wheel; exit with a sentence if something is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="popk-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} kB")
        if missing := missing_files(wheel):
            sys.exit("The wheel lacks files that the checkout has:\n" + "\n".join(missing))
        scripts = install(wheel, folder / "venv")
        for command in (
            [scripts / "python", "-I", "-c", IMPORT_ALL],
            [scripts / "popk", "--help"],
            [scripts / "popk", "qualify", "--only", "integrity", "--out", folder / "qualified"],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
            if done.returncode:
                sys.exit(f"With the wheel installed, this failed:\n{done.stdout}{done.stderr}")
            if command[-1] == IMPORT_ALL:
                print(done.stdout.strip())
        print("`popk --help` and `popk qualify --only integrity` run.")


if __name__ == "__main__":
    main()

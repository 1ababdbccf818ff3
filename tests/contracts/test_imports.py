"""A module of popk imports only from what stands left of it in ORDER."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Modules and packages directly under popk, from left to right.
ORDER = (
    "errors",
    "units",
    "digests",
    "storage",
    "journal",
    "dataset",
    "regimen",
    "structure",
    "statistics",
    "model",
    "models",
    "catalogue",
    "latent",
    "levels",
    "observations",
    "design",
    "class_graph",
    "forms",
    "effect_graph",
    "level_graph",
    "nonmem",
    "graph",
    "fitted",
    "population",
    "prediction",
    "prior_prediction",
    "diagnostics",
    "individual",
    "monitoring",
    "decision",
    "elimination",
    "trials",
    "inference",
    "response",
    "batch",
    "calibration",
    "comparison",
    "sensitivity",
    "cohort",
    "plots",
    "reporting",
    "serving",
    "study",
    "verification",
    "bundle",
    "demo",
    "qualification",
    "cli",
    "__main__",
)

# A drug's model is a value: it needs neither data nor doses.
NARROWER = {"models": {"units", "structure", "statistics", "model"}}


def modules(root: Path) -> Iterator[tuple[str, bool, Path]]:
    """Yield (dotted name, whether it is a package, file) for popk/ and models/ under `root`."""
    for folder, package in (("popk", "popk"), ("models", "popk.models")):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            yield ".".join((package, *parts[: -1 if is_package else None])), is_package, path


def imports(name: str, is_package: bool, tree: ast.AST) -> Iterator[tuple[int, str, str | None]]:
    """Yield (line, module, imported name or None) for each import, wherever in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = name.split(".")
                base = parts[: len(parts) - node.level + is_package]
                source = ".".join([*base, *source.split(".")]).rstrip(".")
            for alias in node.names:
                yield node.lineno, source, alias.name
        elif isinstance(node, ast.Call) and node.args and _is_import_call(node.func):
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield node.lineno, target.value, None


def _is_import_call(func: ast.expr) -> bool:
    called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", None)
    return called in {"import_module", "__import__"}


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _fault(layer: str, source: str, imported: str | None) -> str | None:
    """Return what is wrong with an import of popk made in `layer`, or None."""
    parts = source.split(".")
    if len(parts) == 1:
        if imported in ORDER:
            parts, imported = [*parts, imported], None
        elif imported is not None and imported.startswith("__"):
            return None
        else:
            return (
                "imports from popk itself, which only collects names for users; "
                "import from the module that defines the name"
            )
    target = parts[1]
    if target == layer:
        return None
    if any(_private(part) for part in (*parts, imported or "")):
        return f"imports a private name of popk.{target}"
    if target not in ORDER:
        return f"imports popk.{target}, which has no place in ORDER in tests/contracts/"
    if layer in NARROWER and target not in NARROWER[layer]:
        return f"imports popk.{target}; popk.{layer} may import {sorted(NARROWER[layer])}"
    if ORDER.index(target) > ORDER.index(layer):
        return f"imports popk.{target}, which stands to the right of popk.{layer}"
    return None


def faults(root: Path) -> list[str]:
    """Return a sentence for each import, module or package that breaks the order."""
    found: list[str] = []
    unplaced: set[str] = set()
    for name, is_package, path in modules(root):
        if name == "popk":
            continue  # lazy exports for users
        layer = name.split(".")[1]
        if layer not in ORDER:
            unplaced.add(layer)
            continue
        where = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=where)
        for line, source, imported in imports(name, is_package, tree):
            if source.split(".")[0] == "popk" and (fault := _fault(layer, source, imported)):
                found.append(f"{where}:{line} {fault}.")
    return found + [
        f"popk.{layer} has no place: put it into ORDER in tests/contracts/test_imports.py, "
        "right of everything that it imports."
        for layer in sorted(unplaced)
    ]


def test_every_module_imports_only_from_the_left():
    names = [name for name, _, _ in modules(ROOT)]
    assert "popk" in names
    assert len(names) > 1
    assert not (found := faults(ROOT)), "\n" + "\n".join(found)


def write(root: Path, file: str, text: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("popk/units.py", "from popk.dataset import Dataset", "right of popk.units"),
        ("popk/units.py", "import popk.dataset", "right of popk.units"),
        ("popk/units.py", "from popk import model", "right of popk.units"),
        ("popk/units.py", "def f():\n    from popk.cli import main", "popk/units.py:2 "),
        ("popk/units.py", "from importlib import import_module as i\ni = i", None),
        ("popk/units.py", "import importlib\nimportlib.import_module('popk.cli')", ":2 imports"),
        ("popk/structure/base.py", "from ..model import PopModel", "right of popk.structure"),
        ("popk/structure/__init__.py", "from .. import model", "right of popk.structure"),
        ("popk/structure/__init__.py", "from . import base", None),
        ("popk/structure/base.py", "from . import _solver\nfrom ._solver import _run", None),
        ("popk/cli.py", "from popk.structure._solver import run", "private name"),
        ("popk/cli.py", "from popk.structure import _run", "private name"),
        ("popk/cli.py", "from popk import Dataset", "imports from popk itself"),
        ("popk/cli.py", "import popk", "imports from popk itself"),
        ("popk/cli.py", "from popk import __version__", None),
        ("popk/cli.py", "from popk.models import natalizumab", None),
        ("popk/cli.py", "from popk.nowhere import thing", "no place in ORDER"),
        ("models/drug.py", "from popk.dataset import Dataset", "popk.models may import"),
        ("models/drug.py", "from popk.model import PopModel\nimport popk.units", None),
        ("popk/model/pop_model.py", "from popk.models import natalizumab", "right of popk.model"),
        ("popk/extra/__init__.py", "", "popk.extra has no place"),
        ("popk/__init__.py", "from popk.cli import main", None),
    ],
)
def test_the_check_finds_what_it_should(tmp_path, file, text, fault):
    write(tmp_path, file, text)
    found = faults(tmp_path)
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]

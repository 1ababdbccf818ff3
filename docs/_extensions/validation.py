"""The validation pages: the last committed figures, with the code that they belong to."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

from written import toctree, write_pages

# What is shown, by the name of its page: the file, and what it answers.
RESULTS = {
    "speed": ("benchmarks/RESULTS.md", "How fast and how exact is the engine, beside its peers?"),
    "inference": ("benchmarks/RESULTS_INFERENCE.md", "How do whole fits stand beside peers'?"),
    "individual": ("benchmarks/RESULTS_INDIVIDUAL.md", "How long does one patient's advice take?"),
    "calibration": ("benchmarks/calibration/RESULTS.md", "Are posteriors calibrated?"),
    "figures": ("benchmarks/FIGURES.md", "Do these figures belong to this code?"),
    "recovery": ("tests/recovery/RESULTS.md", "Are known truths and others' estimates found?"),
}

INTRODUCTION = """\
# Validation

Every figure on these pages is taken from a file of the repository when the site is built; none is
typed here. Each file says which code it belongs to. The last column counts the files of `popk/`
and `models/` that have changed since the last of them: figures of older code are evidence about
older code.

These checks say how popk behaved on the data and machines named in them. They do not say that a
model is right for your patients, nor that popk is fit for a use of yours: see
[](../explanation/limits.md) and [](../context-of-use.md).

"""


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers about the repository, or None where it cannot."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    done = subprocess.run(
        [git, "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def codes(text: str) -> list[str]:
    """The commits that a file of results names, each once, in their order."""
    found = re.findall(r"\bcommit ([0-9a-f]{7,40})\b", text)
    return list(dict.fromkeys(found))


def _changed_since(root: Path, commit: str) -> str:
    listed = _git(root, "diff", "--name-only", commit, "HEAD", "--", "popk", "models")
    return "not known here" if listed is None else f"{len(listed.splitlines())} files"


def _row(root: Path, page: str, file: str, question: str) -> str:
    text = (root / file).read_text(encoding="utf-8")
    belongs = codes(text)
    stated = ", ".join(f"`{code[:12]}`" for code in belongs) or "none stated"
    changed = _changed_since(root, belongs[-1]) if belongs else "–"
    written = _git(root, "log", "-1", "--format=%cs", "--", file) or "not known here"
    return f"| [{question}]({page}.md) | `{file}` | {written} | {stated} | {changed} |"


def _figures_of(root: Path, file: str, text: str) -> dict[str, bytes]:
    names = re.findall(r"!\[[^\]]*\]\(([\w.-]+)\)", text)
    return {name: (root / file).with_name(name).read_bytes() for name in names}


def reference_page(root: Path) -> str:
    """What popk is compared with, from the tests that compare it."""
    parts = [
        "# Others' numbers\n",
        "What `tests/reference` compares popk with. Every line is a test that fails when numbers "
        "differ by more than the tolerance written in it; those of public data sets run where the "
        "variable `POPK_REFERENCE_DATA` names them.\n",
    ]
    for path in sorted((root / "tests" / "reference").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts.append(f"## {path.stem.removeprefix('test_').replace('_', ' ')}\n")
        parts.append(f"{ast.get_docstring(tree) or ''}\n\n`tests/reference/{path.name}`\n")
        parts += [
            f"- {node.name.removeprefix('test_').replace('_', ' ')}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        parts.append("")
    return "\n".join(parts)


def requirements_page() -> str:
    """What is required of popk, with the tests and the checks that cover it."""
    from popk.qualification import KINDS, REQUIREMENTS, checks_of

    checks = checks_of()
    parts = [
        "# Requirements\n",
        "What popk has to do, what follows where it does not, and what covers it: tests of the "
        "repository, and checks of `popk qualify`, which come with popk and can be made on any "
        "machine ([](../howto/qualify.md)). Written from `popk/qualification/requirements.py`; a "
        "test fails when a test named here does not exist, or when a requirement has neither a "
        "check nor a reason why it has none.\n",
    ]
    for one in REQUIREMENTS:
        own = [check.name for check in checks if one.id in check.requirements]
        parts += [
            f"## {one.id}\n",
            f"{one.sentence}\n",
            f"- If not: {one.risk}",
            f"- Checks: {'; '.join(own) if own else f'none. {one.why_no_check}'}",
            f"- Tests: {', '.join(f'`{test}`' for test in one.tests)}\n",
        ]
    parts.append("## The checks of `popk qualify`\n")
    for kind in KINDS:
        parts += [f"### {kind.capitalize()}\n", "| check | compared with | why its limits |"]
        parts.append("|---|---|---|")
        parts += [
            f"| {check.name} | {check.against} | {check.tolerance} |"
            for check in checks
            if check.kind == kind
        ]
        parts.append("")
    return "\n".join(parts)


def write_validation(root: Path, folder: Path) -> None:
    """Write the pages to `folder`, from the files of the repository `root`."""
    pages: dict[str, str | bytes] = {}
    rows = []
    for page, (file, question) in RESULTS.items():
        if not (root / file).is_file():
            continue
        text = (root / file).read_text(encoding="utf-8")
        pages[f"{page}.md"] = text
        pages.update(_figures_of(root, file, text))
        rows.append(_row(root, page, file, question))
    pages["reference.md"] = reference_page(root)
    pages["requirements.md"] = requirements_page()
    table = "\n".join(
        [
            "| question | file | written | code | changed since |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    names = [name.removesuffix(".md") for name in pages if name.endswith(".md")]
    index = (
        f"{INTRODUCTION}{table}\n\nWhat popk is compared with: [](reference.md). What is required "
        "of it, and which tests and checks cover it: [](requirements.md).\n\n"
    )
    write_pages(folder, {"index.md": index + toctree(names, hidden=True), **pages})

"""What came of the checks as VALIDATION.md and validation.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from popk.qualification.check import KINDS, Measure, Outcome
from popk.qualification.requirements import REQUIREMENTS
from popk.qualification.run import Qualification, checks_of
from popk.storage import StorageError, write_atomically

__all__ = ["JSON", "PAGE", "as_markdown", "as_values", "shown", "write"]

PAGE, JSON = "VALIDATION.md", "validation.json"
STATEMENT = (
    "Reproducing references does not make results correct: a model may be wrong for your patients, "
    "and what is not compared here is not covered. popk is research software; it informs, it does "
    "not prescribe."
)


def shown(measure: Measure) -> str:
    """The figure and its limit."""
    relation = "at least" if measure.at_least else "at most"
    return f"{measure.figure:.4g} ({relation} {measure.limit:.4g})"


def as_values(found: Qualification) -> dict[str, Any]:
    """Everything as plain values, for JSON; a figure that is no number is null."""
    return {
        "kind": "popk qualification",
        "statement": f"{found.words} {STATEMENT}",
        "passed": found.passed,
        "complete": found.complete,
        "kinds": list(found.kinds),
        "created": found.created,
        "seconds": round(found.seconds, 2),
        "versions": found.versions,
        "environment": found.environment,
        "hashes": found.hashes,
        "checks": [_check_values(outcome) for outcome in found.outcomes],
        "requirements": [
            {"id": one.id, "sentence": one.sentence, "checks": names, "passed": passed}
            for one, names, passed in _covered(found)
        ],
    }


def _check_values(outcome: Outcome) -> dict[str, Any]:
    check = outcome.check
    return {
        "name": check.name,
        "kind": check.kind,
        "requirements": list(check.requirements),
        "against": check.against,
        "tolerance": check.tolerance,
        "passed": outcome.passed,
        "fault": outcome.fault,
        "seconds": round(outcome.seconds, 2),
        "figures": [
            {
                "what": one.what,
                "figure": one.figure if math.isfinite(one.figure) else None,
                "limit": one.limit,
                "relation": "at least" if one.at_least else "at most",
                "passed": one.passed,
            }
            for one in outcome.measures
        ],
    }


def _covered(found: Qualification) -> Iterable[tuple[Any, list[str], bool | None]]:
    """Each requirement, its checks by name, and whether all passed; None where none was made."""
    made = {outcome.check.name: outcome.passed for outcome in found.outcomes}
    every = [one.check for one in found.outcomes]
    every += [check for check in checks_of() if check.name not in made]
    for requirement in REQUIREMENTS:
        names = [check.name for check in every if requirement.id in check.requirements]
        results = [made[name] for name in names if name in made]
        whole = bool(results) and (len(results) == len(names) or not all(results))
        yield requirement, names, all(results) if whole else None


def as_markdown(found: Qualification) -> str:
    """The page."""
    parts = [
        "# Qualification of an installation of popk\n",
        f"**{found.words}**\n",
        f"{STATEMENT}\n",
    ]
    if not found.complete:
        parts.append(f"Only the {', '.join(found.kinds)} checks were made.\n")
    passed = sum(outcome.passed for outcome in found.outcomes)
    facts = {
        "made": f"{found.created}, in {found.seconds:.0f} s",
        "checks": f"{passed} of {len(found.outcomes)} passed",
        **{name: str(value) for name, value in found.environment.items()},
        **found.versions,
        "code of popk": found.hashes["code"]["popk"],
    }
    parts.append(_table(("installation", ""), list(facts.items())))
    for kind in KINDS:
        own = [outcome for outcome in found.outcomes if outcome.check.kind == kind]
        if own:
            parts += [f"## {kind.capitalize()}\n", _figures(own)]
    parts += ["## What was compared with what\n", _comparisons(found.outcomes)]
    parts += ["## Requirements\n", _requirements(found), "## Hashes\n", _hashes(found)]
    return "\n".join(parts)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(headers), "|" + "---|" * len(headers), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _figures(outcomes: Iterable[Outcome]) -> str:
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        name = f"{outcome.check.name} ({outcome.seconds:.1f} s)"
        for one in outcome.measures:
            result = "pass" if one.passed else "**FAIL**"
            rows.append((name, one.what, shown(one), result))
            name = ""
        if outcome.fault:
            rows.append((name, f"could not be made: {outcome.fault}", "–", "**FAIL**"))
    return _table(("check", "what was measured", "figure (limit)", "result"), rows)


def _comparisons(outcomes: Iterable[Outcome]) -> str:
    rows = [
        (one.check.name, ", ".join(one.check.requirements), one.check.against, one.check.tolerance)
        for one in outcomes
    ]
    return _table(("check", "requirements", "compared with", "why this limit"), rows)


def _requirements(found: Qualification) -> str:
    words = {True: "pass", False: "**FAIL**", None: "not checked"}
    rows = [
        (
            one.id,
            one.sentence,
            "; ".join(names) or one.why_no_check,
            words[passed] if names else "–",
        )
        for one, names, passed in _covered(found)
    ]
    return _table(("", "requirement", "checks, or why none", "result"), rows)


def _hashes(found: Qualification) -> str:
    rows = [
        (f"{group}: {name}", f"`{value}`")
        for group, values in found.hashes.items()
        for name, value in values.items()
    ]
    note = (
        "SHA-256. Of code: by part, comments and layout left out. Of a model: the hash that fits "
        "of it carry.\n"
    )
    return f"{note}\n{_table(('what', 'hash'), rows)}"


def write(found: Qualification, folder: str | PathLike[str]) -> tuple[Path, Path]:
    """Write `PAGE` and `JSON` to a folder, which is made if needed; older ones are replaced.

    Raises
    ------
    StorageError
        When a file stands where the folder is to be.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file; a folder's name was expected.")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_values(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    contents = {PAGE: as_markdown(found), JSON: text}
    paths = [
        write_atomically(folder / name, partial(_put, content))
        for name, content in contents.items()
    ]
    return paths[0], paths[1]


def _put(content: str, path: Path) -> None:
    path.write_text(content, encoding="utf-8")

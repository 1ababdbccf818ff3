"""Whether the committed figures belong to the code that is there: what CI asks.

Each file of figures stands in ``figures.json`` with the parts of popk that it rests on (their
hashes when it was made; comments, docstrings and layout do not count) and the hashes of the models
it is about. Where a part has changed and the figures were not made anew, ``tests/benchmarks`` fails
until somebody either makes them anew,

    python benchmarks/figures_gate.py --rerun benchmarks/calibration/RESULTS.md

(what `check_calibration.py` does by itself), or says why they are left as they are,

    python benchmarks/figures_gate.py --leave "why"

which the table in ``FIGURES.md`` then shows: made by older code, since changed. Without options the
state is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from popk.qualification.sources import PARTS, hash_of

ROOT = Path(__file__).resolve().parents[1]
LIST, PAGE = "benchmarks/figures.json", "benchmarks/FIGURES.md"
SHORT = 16

INTRODUCTION = """# Do the committed figures belong to this code?

Written by `benchmarks/figures_gate.py` from `benchmarks/figures.json`; not to be edited. Parts of
popk: engine (`popk/structure`), likelihood, inference, decision. "Since changed" names those whose
code differs from that which made the figures: such figures are evidence about older code. CI fails
when a part or a model has changed and this table does not say so.

"""


def entries(root=ROOT):
    """The list of figures."""
    return json.loads((root / LIST).read_text(encoding="utf-8"))


def parts_now(root=ROOT):
    """The hash of each part of popk in a checkout."""
    return {part: hash_of(root / "popk", paths)[:SHORT] for part, paths in PARTS.items()}


def model_hash(name, root=ROOT):
    """The hash of a model: a module's, or that of a Python file of the repository."""
    if not name.endswith(".py"):
        return import_module(name).model.hash[:SHORT]
    spec = spec_from_file_location(f"figures_{Path(name).stem}", root / name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.model.hash[:SHORT]


def models_now(listed, root=ROOT):
    """The hash of each model that figures are about."""
    return {name: model_hash(name, root) for one in listed for name in one["models"]}


def faults(listed, parts, models):
    """A sentence for each file whose figures are not known to be of older code, and are."""
    found = []
    for one in listed:
        moved = [
            f"{part} (was {one['parts'][part]}, is {parts[part]})"
            for part in one["parts"]
            if parts[part] not in (one["parts"][part], one["left_at"].get(part))
        ]
        moved += [
            f"the model {name} (was {known}, is {models[name]})"
            for name, known in one["models"].items()
            if models[name] not in (known, one["left_at"].get(name))
        ]
        if moved:
            found.append(
                f"{one['file']}: {', '.join(moved)} changed since its figures were made (commit "
                f"{one['commit']}), and they were not made anew. Run {one['made_by']} and then "
                f"python benchmarks/figures_gate.py --rerun {one['file']}; or say why they are "
                'left as they are: python benchmarks/figures_gate.py --leave "why".'
            )
    return found


def since_changed(one):
    """Parts and models that are known to have changed since."""
    made = {**one["parts"], **one["models"]}
    return [name for name, known in one["left_at"].items() if known != made[name]]


def page(listed):
    """The table."""
    lines = [
        "| figures | of | made by code | since changed | why left |",
        "|---|---|---|---|---|",
    ]
    for one in listed:
        hashes = ", ".join(f"{part} `{known}`" for part, known in one["parts"].items())
        changed = ", ".join(since_changed(one)) or "nothing"
        lines.append(
            f"| `{one['file']}` | {one['what']} | commit {one['commit']}: {hashes} | {changed} | "
            f"{one['why'] or '–'} |"
        )
    return INTRODUCTION + "\n".join(lines) + "\n"


def left(listed, parts, models, why):
    """The list with what has changed taken down, and why the figures are left as they are."""
    if len(why.split()) < 3:
        raise SystemExit(f"The reason is {why!r}; say in a sentence why the figures are left.")
    found = []
    for one in listed:
        now = {name: parts[name] for name in one["parts"]}
        now |= {name: models[name] for name in one["models"]}
        made = {**one["parts"], **one["models"]}
        moved = {name: known for name, known in now.items() if known != made[name]}
        new = moved != one["left_at"]
        found.append(
            {**one, "left_at": moved, "why": (why if new else one["why"]) if moved else ""}
        )
    return found


def rerun(listed, file, parts, models, commit):
    """The list after the figures of a file were made anew by the code that is there."""
    if file not in [one["file"] for one in listed]:
        raise SystemExit(f"{file} is not in {LIST}; it lists {[one['file'] for one in listed]}.")
    return [
        {**one, "commit": commit, "parts": {name: parts[name] for name in one["parts"]},
         "models": {name: models[name] for name in one["models"]}, "left_at": {}, "why": ""}
        if one["file"] == file
        else one
        for one in listed
    ]  # fmt: skip


def write(listed, root=ROOT):
    """The list and the table."""
    text = json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
    (root / LIST).write_text(text, encoding="utf-8")
    (root / PAGE).write_text(page(listed), encoding="utf-8")


def made_anew(file, root=ROOT):
    """Take down that the figures of a file have just been made."""
    asked = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    listed = entries(root)
    write(rerun(listed, file, parts_now(root), models_now(listed, root), commit), root)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rerun", metavar="FILE")
    parser.add_argument("--leave", metavar="WHY")
    asked = parser.parse_args(argv)
    if asked.rerun:
        made_anew(asked.rerun)
    listed = entries()
    parts, models = parts_now(), models_now(listed)
    if asked.leave:
        listed = left(listed, parts, models, asked.leave)
        write(listed)
    found = faults(listed, parts, models)
    print("\n".join(found) if found else page(listed))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Simulation-based calibration of the sparse-trough design, with its figures.

``python benchmarks/check_calibration.py`` makes 200 replicates (some 8 CPU seconds each) and writes
tables and figures to ``benchmarks/calibration/``, with the commit of the code that the run began
with. Stopped, the same command goes on: replicates are kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from os import cpu_count
from pathlib import Path

from figures_gate import made_anew
from results import commit

from popk import sbc
from popk.calibration import calibration_frame, reliability_frame
from popk.plots import plot_calibration

HERE = Path(__file__).parent / "calibration"
SETTING = {"seed": 1, "interval": 35.0, "target": 17.0}

say = partial(print, flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--processes", type=int, default=cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "sparse_troughs")
    asked = parser.parse_args(argv)
    sys.path.insert(0, str(HERE))
    from sparse_troughs import design, model

    asked.folder.parent.mkdir(parents=True, exist_ok=True)
    code = asked.folder.parent / f"{asked.folder.name}.commit"
    if not code.exists():
        code.write_text(commit() + "\n", encoding="utf-8")
    found = sbc(
        model, design(), replicates=asked.replicates, processes=asked.processes,
        folder=asked.folder, progress=lambda done, total: say(f"{done} of {total}"), **SETTING,
    )  # fmt: skip
    write(found, code.read_text(encoding="utf-8").strip())
    made_anew("benchmarks/calibration/RESULTS.md")
    return 0 if found.attrs["calibrated"] else 1


def write(found, code):
    """The page, the tables and the figure."""
    figure = plot_calibration(found)
    figure.savefig(HERE / "ecdf.svg", metadata={"Date": None})
    table, events = calibration_frame(found), reliability_frame(found)
    table.to_csv(HERE / "sbc.csv", lineterminator="\n")
    events.to_csv(HERE / "reliability.csv", index=False, lineterminator="\n")
    seconds = found["replicates"]["seconds"].values
    lines = [
        "# Calibration on the sparse-trough design",
        "",
        "Made by `python benchmarks/check_calibration.py`; the design and the model are "
        "`calibration/sparse_troughs.py`.",
        "",
        f"- Code: {code}",
        f"- Model {found.attrs['model_hash'][:12]}, design {found.attrs['design_hash'][:12]}, "
        f"seed {found.attrs['seed']}, popk {found.attrs['popk_version']}",
        f"- {found.attrs['words']}",
        *(f"- {note}" for note in json.loads(found.attrs["notes"])),
        f"- Processor time of a replicate: median {sorted(seconds)[len(seconds) // 2]:.1f} s",
        "",
        "![Differences of the ranks' ECDFs, with simultaneous bands](ecdf.svg)",
        "",
        "| quantity | 95 % band | p | p among all (Holm) | shift | spread | ranks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in table.iterrows():
        band = "inside" if row["inside"] else "outside"
        lines.append(
            f"| {name} | {band} | {row['p_value']:.3f} | {row['p_adjusted']:.2f} | "
            f"{row['shift']:+.1f} | {row['spread']:+.1f} | {row['n']} |"
        )
    lines += [
        "",
        f"P(trough >= {found.attrs['target']:g} mg/L) {found.attrs['interval']:g} d after the last "
        "dose, as `popk.individualise` gives it:",
        "",
        "| stated | mean stated | happened | 95 % band | patients | effective |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in events.iterrows():
        lines.append(
            f"| {row['low']:.1f} to {row['high']:.1f} | {row['said']:.3f} | {row['happened']:.3f} |"
            f" {row['band_low']:.3f} to {row['band_high']:.3f} | {row['n']:.0f} | "
            f"{row['n_effective']:.0f} |"
        )
    (HERE / "RESULTS.md").write_text("\n".join(lines).replace("+nan", "–") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""popk's side of a fit: ``popk_fit.py ORDER``, a file of JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from inference.phases import Report

VERSIONS = ("popk", "pymc", "nutpie", "numba", "numpy")


def main(path):
    order = json.loads(Path(path).read_text())
    report = Report(order["report"], "importing")
    import popk
    from inference.cohorts import WORK
    from popk.inference import NUTS, Marginal

    report.phase_is("reading data")
    work = WORK[order["case"]](order["patients"])

    class Watched({"Marginal": Marginal, "NUTS": NUTS}[order["method"]]):
        """The method; what it draws is kept even if what follows is cut short."""

        def run(self, *arguments, **named):
            posterior, stats = super().run(*arguments, **named)
            report.phase_is("keeping the draws")
            keep(order, report, posterior, stats, [p.name for p in work.model.parameters])
            return posterior, stats

    method = Watched(**order["settings"])
    report.phase_is("preparing")

    def told(stage, *_, **__):  # popk.sample tells a report, a method by itself its stage
        report.phase_is(getattr(stage, "stage", stage))

    given = {"seed": order["seed"], "progress": told}
    if order["whole"]:
        popk.sample(work.model, work.dataset, method, **given)
    else:
        method.run(work.model, work.dataset, **given)
    report.end()


def keep(order, report, posterior, stats, names):
    import numpy as np

    draws = {name: posterior[name].transpose("chain", "draw").values for name in names}
    np.savez(order["draws_file"], **draws)
    if "diverging" in stats:
        report.tell(divergences=int(stats["diverging"].sum()))
    if "khat" in stats:
        report.tell(
            khat=float(stats["khat"]),
            khat_subject=float(stats["khat_subject"].max()),
            noise=float(stats["noise"]),
        )
    report.tell(
        instead=stats.attrs.get("instead", ""),
        versions={name: version(name) for name in VERSIONS},
    )


if __name__ == "__main__":
    main(sys.argv[1])

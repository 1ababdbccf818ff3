"""The page of results, in Markdown."""

from __future__ import annotations

from inference import figures

INTRODUCTION = """# popk's fits beside its peers'

Written by `make bench-inference`; not to be edited. Figures of research software on the machines
named below, not promises. **ESS** is the least bulk effective sample size over the population
parameters (ArviZ, the same for every tool). Every fit runs in a process of its own, one at a time,
on all cores. Seconds are those of the fit: starting points, warm-up or adaptation, and draws, with
popk's loading of kernels that an earlier process compiled. Importing libraries, reading data and
compiling a model (Stan's and PyMC's, and that of popk's NUTS) are in no rate; they are in the
column "before". CPU-seconds are user and system time of all threads and processes; "draws alone"
leaves out warm-up (nutpie's by its share of gradients; popk's NUTS does not tell it apart; of
`Marginal` everything but its last phase is left out). MiB is the most memory held, of Stan's chains
together.

**Marginal / tool** is popk's `Marginal` over that row: above 1, `Marginal` is faster, the median of
the ratios of each repeat; other figures are medians of the repeats too, save R-hat, divergences and
k-hat, the worst of them. **†** marks an ESS, and what is computed from it, of draws that are NOT to
be believed: R-hat not below {rhat}, divergences, or a Pareto k-hat not below {khat}; the reasons
stand below the table. "Means off" is the largest difference of a posterior mean from `Marginal`'s,
in posterior SDs.
"""
TITLES = {
    "theophylline": "Theophylline: one compartment, oral",
    "linear": "A linear cohort: two compartments, troughs, jittered dosing",
    "michaelis-menten": "The natalizumab cohort: Michaelis-Menten elimination",
    "scaling": "From 80 to 8,000 patients",
    "start": "A second fit of the same model",
}
NOTES = {
    "theophylline": "Priors are wide (over two orders of magnitude), so chains can end with "
    "absorption and elimination exchanged. Stan and PyMC: the closed form; the chains start where "
    "either starts them by itself, in Stan uniformly within 2 prior SDs.",
    "linear": "Variability of CL and V1; troughs say little of that of V1. Stan: the two modes "
    "carried from event to event; PyMC: superposition, all patients in one array.",
    "michaelis-menten": "Stan: `ode_rk45` with a relative tolerance of 1e-6. It is given a limit "
    "of time, as stated, for to end it would need hours.",
    "scaling": "`popk.sample` by `Marginal` on the linear cohort, of other sizes: wall seconds of "
    "each phase. The last two phases, and the memory of the last column, are `popk.sample`'s own: "
    "predictions, log likelihoods and checks.",
    "start": "`popk.sample` by `Marginal` on theophylline, wall seconds of whole processes: first "
    "with empty caches of compiled code, then again in a new process. The fit starts when the data "
    "are prepared; kernels are loaded as they are first called.",
}
MISSING = "–"


def write(kept):
    """The whole page, from what each case measured."""
    introduction = INTRODUCTION.format(rhat=figures.RHAT_LIMIT, khat=figures.KHAT_LIMIT)
    lines = [introduction]
    for case, found in kept.items():
        lines += [f"## {TITLES[case]}", "", NOTES[case], "", *_conditions(found), ""]
        table = {"scaling": _scaling, "start": _start}.get(case, _comparison)
        lines += [*table(found), ""]
    return "\n".join(lines)


def _conditions(found):
    versions = {}
    for run in _all_runs(found):
        versions |= run.get("versions", {})
    quick = " A QUICK TRIAL: short chains, no result." if found["quick"] else ""
    yield f"- {found['date']}; {found['code']}; {found['processor']}.{quick}"
    yield "- " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    if "patients" in found:
        yield f"- {found['patients']} patients, {found['observations']} observations"
    apart = [run["density_apart"] for run in _all_runs(found) if "density_apart" in run]
    if apart:
        yield (
            f"- Stan's log density is popk's to {max(apart):.0e} (differences between three points)"
        )


def _all_runs(found):
    for runs in found["runs"].values():
        yield from runs if isinstance(runs, list) else [runs]


def _comparison(found):
    runs = {tool: each for tool, each in found["runs"].items() if any("ess" in r for r in each)}
    reference = runs.get("popk, Marginal")
    header = (
        "tool", "chains x draws", "ESS (of)", "R-hat", "divergences", "k-hat (patients')",
        "before, s", "fit, s", "fit, CPU-s", "ESS/s", "ESS/CPU-s", "of draws alone",
        "Marginal / tool, per s", "per CPU-s", "means off", "MiB",
    )  # fmt: skip
    yield from _table(header, [_row(tool, each, reference) for tool, each in runs.items()])
    yield ""
    for tool, each in found["runs"].items():
        for why in dict.fromkeys(run["why_not"] for run in each if "why_not" in run):
            yield f"- {tool}: {why}."
        for run in each:
            if run.get("cut"):
                none = "" if "ess" in run else f"; no draws.{_at_most(run, reference)}"
                yield f"- {tool}: {run['cut']}{none}"
        wrong = [figures.faults(run) for run in each if "ess" in run]
        if any(wrong):
            told = " | ".join(", ".join(faults) for faults in wrong if faults)
            yield f"- † {tool}, {sum(map(bool, wrong))} of {len(wrong)} runs: {told}."


def _row(tool, runs, reference):
    done = [run for run in runs if "ess" in run]
    mark = "†" if any(figures.faults(run) for run in done) else ""
    worst = min(done, key=lambda run: run["ess"])

    def rated(rate):
        return _number(figures.median_of([rate(run) for run in done]), mark)

    compared = ("**1**", "**1**") if runs is reference else (MISSING, MISSING)
    off = MISSING
    if reference and runs is not reference:
        compared = tuple(
            "**" + _number(figures.median_ratio(reference, runs, column)) + f"**{mark}"
            for column in (figures.WALL, figures.CPU)
        )
        apart = [figures.distance(a, b) for a, b in zip(runs, reference, strict=True)]
        apart = max((one for one in apart if one), default=None)
        off = f"{apart[0]:.2f} ({apart[1]})" if apart else MISSING
    return (
        tool,
        f"{worst['chains']} x {worst['draws']:,}",
        f"{_number(figures.median_of([r['ess'] for r in done]), mark)} ({worst['ess_of']})",
        f"{max(run['rhat'] for run in done):.3f}",
        _worst(done, "divergences", "d"),
        f"{_worst(done, 'khat', '.2f')} ({_worst(done, 'khat_subject', '.2f')})",
        _number(figures.median_of([figures.seconds_before(run) for run in done])),
        _number(figures.median_of([figures.seconds(run) for run in done])),
        _number(figures.median_of([figures.seconds(run, figures.CPU) for run in done])),
        rated(figures.rate),
        rated(lambda run: figures.rate(run, figures.CPU)),
        rated(figures.rate_of_draws),
        *compared,
        off,
        _mebibytes(max(figures.peak(run) for run in done)),
    )


def _at_most(run, reference):
    """What is known of a tool that was still warming up: a rate that it cannot well exceed."""
    most = figures.bound(run, figures.CPU)
    if not most:
        return ""
    told = f" Had each iteration been an independent draw: {most:.2g} per CPU-second"
    ours = [figures.rate(one, figures.CPU) for one in reference or []]
    ours = figures.median_of(ours)
    return (
        f"{told}, of which `Marginal` makes {_number(ours / most)} times as many."
        if ours
        else told + "."
    )


def _scaling(found):
    runs = found["runs"]
    names = list(dict.fromkeys(phase[0] for run in runs.values() for phase in run["phases"]))
    names = [name for name in names if name not in figures.BEFORE]
    rows = []
    for patients, run in runs.items():
        spent = {phase[0]: phase[figures.WALL] for phase in run["phases"]}
        ended = {"why_not"} & run.keys()
        rows.append(
            (
                f"{int(patients):,}",
                *(_number(spent.get(name)) for name in names),
                MISSING if ended else _number(figures.seconds(run)),
                MISSING if ended else _number(figures.seconds(run, figures.CPU)),
                f"{run['ess']:.0f}{'†' if figures.faults(run) else ''}"
                if "ess" in run
                else MISSING,
                _mebibytes(figures.peak(run, "sampling")),
                _mebibytes(figures.peak(run)),
            )
        )
    header = ("patients", *names, "in all", "CPU-s", "ESS", "MiB, draws made", "MiB, at the end")
    yield from _table(header, rows)
    yield ""
    for patients, run in runs.items():
        told = [*([run["why_not"]] if "why_not" in run else []), *figures.faults(run)]
        if told:
            yield f"- {int(patients):,} patients: {', '.join(told)}."


def _start(found):
    rows = []
    for which, run in found["runs"].items():
        spent = {phase[0]: phase[figures.WALL] for phase in run["phases"]}
        rows.append(
            (
                which,
                _number(spent.get("importing")),
                _number(spent.get("reading data")),
                _number(spent.get("preparing")),
                _number(figures.seconds(run)),
                _number(run.get("wall")),
                run.get("why_not", "") or ", ".join(figures.faults(run)) or "converged",
            )
        )
    header = (
        "which", "importing", "reading data", "preparing", "fit, preparing included",
        "whole process", "state",
    )  # fmt: skip
    yield from _table(header, rows)


def _table(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _number(value, mark=""):
    """Three figures, whole above a hundred, as in a table; a dash for what is not known."""
    if value is None:
        return MISSING
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + mark


def _worst(runs, name, form):
    known = [run[name] for run in runs if run.get(name) is not None]
    return format(max(known), form) if known else MISSING


def _mebibytes(value):
    return MISSING if value is None else f"{value / 2**20:,.0f}"

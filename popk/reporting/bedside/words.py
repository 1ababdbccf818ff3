"""The sentences of a patient's sheet: the advice, what it rests on, assumptions, the model."""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import xarray as xr

from popk.diagnostics import verdict_of
from popk.model import PopModel
from popk.population import model_of
from popk.reporting.bedside.case import Case
from popk.reporting.table import number, percent, span

__all__ = [
    "Headline", "assumptions", "curve_alt", "headline", "model_lines", "provenance", "state_note",
]  # fmt: skip

_HASH = 16  # characters shown of a fingerprint
_NEAR = 2.0  # Monte Carlo errors that a probability is near its limit
_CARD = 260  # characters shown of what a card says of its population


class Headline(NamedTuple):
    """The advice: its state as one word, the advice in a few, sentences, what it rests on."""

    label: str
    title: str
    sentences: tuple[str, ...]
    basis: str


def headline(case: Case) -> Headline:
    """What a reader must see first."""
    if case.state == "withheld":
        return Headline("WITHHELD", "No interval is advised", _withheld(case), _basis(case))
    label = "WIDENED" if case.state else ("ADVICE" if case.checked else "NOT CHECKED")
    day = case.day(case.longest)
    title = f"Up to {case.longest:g} weeks after the last dose" + (f", {day}" if day else "")
    if np.isnan(case.longest):
        title = "No candidate interval holds the target"
    return Headline(label, title, tuple(_given(case)), _basis(case))


def _withheld(case: Case) -> tuple[str, ...]:
    reasons = [one.sentence for one in case.findings if one.severity == "withheld"]
    note = str(case.own["note"].values)
    # The note may be a finding already.
    if note and not any(note in reason for reason in reasons):
        reasons.insert(0, note)
    return (
        "From these data popk gives no interval, neither a longer one nor the usual one. Reason, "
        "and what to do:",
        *reasons,
        "Then add what was found to the data and ask again. Probabilities and the predicted curve "
        "are left out of this sheet, as they are not to be used.",
    )


def _given(case: Case) -> list[str]:
    own, asked = case.own, case.asked
    weeks, p = own["week"].values.astype(float), own["probability"].values.astype(float)
    error = own["mcse"].values.astype(float)
    goal = f"P(trough ≥ {case.target.words})"
    said = []
    if np.isnan(case.longest):
        said.append(
            f"Even at the shortest candidate, {weeks[0]:g} weeks, {goal} is "
            f"{percent(p[0], bound=asked)}; {100 * asked:g} % was asked for."
        )
        at = 0
    else:
        at = int(np.flatnonzero(weeks == case.longest)[0])
        said.append(
            f"{goal} just before a dose at {case.longest:g} weeks is {percent(p[at], bound=asked)} "
            f"(Monte Carlo error {100 * error[at]:.1f} %; {100 * asked:g} % was asked for); "
            f"predicted trough {number(float(own['trough_median'][at]))} {case.target.unit}, 90 % "
            f"interval {span(float(own['trough_low'][at]), float(own['trough_high'][at]))}."
        )
    near = [f"{weeks[k]:g}" for k in {at, min(at + 1, len(p) - 1)}
            if abs(p[k] - asked) < _NEAR * error[k]]  # fmt: skip
    if near:
        said.append(
            f"At {' and '.join(sorted(near, key=float))} weeks the probability is within its Monte "
            f"Carlo error of {100 * asked:g} %: more draws could change the advised interval."
        )
    sustained = float(own["longest_sustained"])
    kept = own["probability_sustained"].values.astype(float)
    if np.isfinite(kept).any() and np.isfinite(case.longest) and np.isnan(sustained):
        said.append(
            f"This is about the next interval alone: repeated until steady, no candidate has "
            f"{100 * asked:g} %."
        )
    if sustained < case.longest:
        said.append(
            f"This is about the next interval alone: repeated until steady, the longest with "
            f"{100 * asked:g} % is {sustained:g} weeks."
        )
    return said


def _basis(case: Case) -> str:
    own, attrs = case.own, case.advice.attrs
    seen, below = int(own["n_observations"]), int(own["n_blq"])
    samples = f"{seen} sample{'' if seen == 1 else 's'} of this patient"
    if below:
        samples += f" ({below} below the limit of quantification)"
    draws = case.advice["posterior"].sizes["sample"]
    exact = f"Pareto k̂ {number(float(own['khat']))}, " if "khat" in own.coords else ""
    effective = f"{exact}{number(float(own['ess']))} effective" if "ess" in own.coords else ""
    model = f"the model {attrs['model_name']}"
    if case.averaged:
        listed = [f"{one['model_name']} ({percent(one['weight'])})" for one in case.averaged]
        model = f"the models {', '.join(listed)}, weights in brackets"
    return (
        f"It rests on {samples}, the recorded doses and covariates, and {model}: {draws} draws"
        f"{f' ({effective})' if effective else ''}, uncertainty of the population included."
    )


def state_note(case: Case) -> str:
    """What was looked for, and what came of it where there are no findings."""
    if not case.checked:
        return (
            "Not checked: this advice was made without looking for what speaks against it "
            "(popk.individualise does)."
        )
    if not case.findings:
        return (
            "Nothing was found (units, sample times, surprising samples, changed clearance, "
            "antibodies, covariates, doses and history, information). That nothing was found does "
            "not say that nothing is wrong."
        )
    return {
        "withheld": "Withheld: no interval is advised, and probabilities are not to be used.",
        "widened": "Widened: the probabilities allow for what was found; of those with and without "
        "it, the lower stands here.",
        "": "Notes change nothing.",
    }[case.state]


def assumptions(case: Case) -> tuple[str, ...]:
    """What the numbers suppose."""
    said = [
        "Trough: the true concentration just before the next dose, without assay noise; no dose is "
        "given before.",
        "Doses, times, samples and covariates are as recorded; covariates stay as at the last "
        "record, and clearance as it is now.",
        f"The target of {case.target.words} and the probability of {100 * case.asked:g} % were "
        "chosen by whoever asked; popk does not judge them, and a concentration is not an effect.",
    ]
    if told := str(case.own["unmeasured"].values) if "unmeasured" in case.own.coords else "":
        said.append(told)
    if together := str(case.advice.attrs.get("curve_words", "")):
        said.append(together)
    return tuple(said)


def model_lines(case: Case, fit: xr.DataTree) -> tuple[str, ...]:
    """The card of a model in three lines: source, whom it describes, where it holds."""
    model = model_of(fit)
    named = f"{model.name} (fingerprint {model.hash[:_HASH]})"
    card = model.card
    if card is None:
        notes = " ".join(model.notes)
        return (f"{named}. It has no card: source and domain are not stated. {notes}".strip(),)
    doi = f" doi:{card.doi}" if card.doi else ""
    return (
        f"{named}. Source: {card.citation}{doi}",
        f"Describes: {_short(card.population)} Route: {card.route}.",
        f"Holds for: {_domain(case, model)}",
    )


def _domain(case: Case, model: PopModel) -> str:
    card, own = model.card, case.own
    assert card is not None
    told = []
    for name, low, high in card.domain:
        unit = case.units.get(name, "")
        here = float(own[name]) if name in own.coords else float("nan")
        outside = " – OUTSIDE" if here < low or here > high else ""
        patient = "" if np.isnan(here) else f" (this patient: {number(here)}{outside})"
        told.append(f"{name} {span(low, high)}{'' if unit in ('', '1') else ' ' + unit}{patient}")
    told += [f"doses {', '.join(card.doses)}"] if card.doses else []
    if card.intervals:
        told.append(f"intervals of {card.intervals[0]:g} to {card.intervals[-1]:g} weeks")
    return "; ".join(told) + "." if told else "not stated."


def _short(text: str) -> str:
    text = text.strip()
    if len(text) > _CARD:
        text = text[:_CARD].rsplit(" ", 1)[0] + " …"
    return text if text.endswith((".", "…")) else f"{text}."


def provenance(case: Case, made: str) -> str:
    """Fingerprints, seeds, versions and dates."""
    attrs = case.advice.attrs
    told = [f"Sheet made {made} by popk {version('popk')}"]
    for fit in case.fits:
        own = fit.attrs
        told.append(
            f"fit of {own['model_name']}: made {str(own['created'])[:10]} by popk "
            f"{own['popk_version']}, seed {own['seed']}, data {own['data_hash'][:_HASH]}, "
            f"{'converged' if verdict_of(fit).converged else 'NOT CONVERGED'}"
        )
    told.append(f"advice: seed {attrs['seed']}, popk {attrs['popk_version']}")
    told.append(f"this patient's data: {case.advice['data'].attrs['fingerprint'][:_HASH]}")
    return "; ".join(told) + "."


def curve_alt(case: Case) -> str:
    """The figure in words, for those who do not see it."""
    own = case.own
    records = case.records
    seen = (records["EVID"].values == 0) & (records["MDV"].values == 0)
    time, values, below = (records[name].values[seen] for name in ("TIME", "DV", "CENS"))
    listed = [
        f"{'below ' if c == 1 else ''}{number(v)} at TIME {number(t)}"
        for t, v, c in zip(time.tolist(), values.tolist(), below.tolist(), strict=True)
    ]
    said = (
        f"Concentration over time with the samples: {', '.join(listed[-8:]) or 'none'} "
        f"({case.units['concentration']}; {case.units['time']})."
    )
    if case.state == "withheld":
        return said + " The predicted curve is left out, as the advice is withheld."
    troughs = [
        f"{number(float(w))} weeks: {percent(float(p))}"
        for w, p in zip(own["week"].values, own["probability"].values, strict=True)
    ]
    return (
        f"{said} The band holds the true concentration with 90 %. Beside it P(trough ≥ "
        f"{case.target.words}) by interval: {', '.join(troughs)}."
    )

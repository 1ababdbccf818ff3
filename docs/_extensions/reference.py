"""The reference: a page for each noun and verb, written from the names that popk makes public."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from pprint import pformat
from textwrap import indent
from types import ModuleType

from written import toctree, write_pages


@dataclass(frozen=True)
class Topic:
    """A page of the reference: names of popk, and packages whose further names it lists."""

    page: str
    title: str
    words: str
    homes: tuple[str, ...]  # of the names in popk.__all__, where `names` says nothing else
    names: tuple[str, ...] = ()  # these rather than all of the home
    packages: tuple[str, ...] = ()  # of which the names not in popk are listed below
    apart: bool = False  # a part of popk.statistics, chosen by base class


NOUNS = (
    Topic(
        "dataset", "Data and units",
        "Event tables, read and checked in full; units; doses that repeat.",
        ("popk.dataset", "popk.units", "popk.regimen"),
        packages=("popk.dataset", "popk.units", "popk.regimen"),
    ),
    Topic(
        "structures", "Structures",
        "The equations for one subject: compartments, absorption, elimination, responses.",
        ("popk.structure",), packages=("popk.structure",),
    ),
    Topic(
        "model", "Models",
        "A population model is a value: structure, typical values, variability, covariates, error.",
        ("popk.model",), packages=("popk.model", "popk.models"),
    ),
    Topic("priors", "Priors", "Distributions, written the way the field speaks.",
          ("popk.statistics",), apart=True),
    Topic("covariates", "Covariate effects", "How parameters depend on what is known of a subject.",
          ("popk.statistics",), apart=True),
    Topic("error", "Residual error", "What lies between prediction and measurement.",
          ("popk.statistics",), apart=True),
    Topic(
        "variability", "Variability",
        "Between subjects, between occasions, between groups, and classes that nobody observed.",
        ("popk.statistics",), packages=("popk.statistics",),
    ),
    Topic("errors", "Errors", "What is raised when something cannot be done as asked: sentences.",
          ("popk.errors",), packages=("popk.errors",)),
)  # fmt: skip
VERBS = (
    Topic(
        "fit", "Build and fit",
        "From model and data to the posterior, by one verb; the method is an object.",
        ("popk.graph", "popk.inference", "popk.storage"),
        packages=("popk.graph", "popk.inference", "popk.storage", "popk.fitted"),
    ),
    Topic(
        "predict", "Predict", "The forward simulator: from priors, or from a fit.",
        ("popk.prediction", "popk.prior_prediction"),
        packages=("popk.prediction", "popk.prior_prediction"),
    ),
    Topic(
        "diagnose", "Diagnose",
        "Whether the sampler converged, the model describes the data, and what results hang on.",
        ("popk.diagnostics", "popk.sensitivity", "popk.calibration", "popk.cohort"),
        packages=("popk.diagnostics", "popk.sensitivity", "popk.calibration", "popk.cohort"),
    ),
    Topic("compare", "Compare", "Which model predicts best, and how good its forecasts are.",
          ("popk.comparison",), packages=("popk.comparison",)),
    Topic(
        "individualise", "Individualise and decide",
        "One patient: the posterior without a refit, intervals, doses, visits, samples.",
        ("popk.individual", "popk.monitoring", "popk.decision", "popk.elimination"),
        packages=("popk.individual", "popk.monitoring", "popk.decision", "popk.elimination"),
    ),
    Topic("batch", "Tables of any size, and trials",
          "Many patients at once; policies tried on virtual patients.",
          ("popk.batch", "popk.trials"), packages=("popk.batch", "popk.trials")),
    Topic(
        "report", "Report and plot", "These only draw and print what others computed.",
        ("popk.reporting", "popk.plots"), packages=("popk.reporting", "popk.plots"),
    ),
    Topic("nonmem", "Import from NONMEM", "Models from control streams.",
          ("popk.nonmem",), packages=("popk.nonmem",)),
)  # fmt: skip
TOPICS = (*NOUNS, *VERBS)

INTRODUCTION = """\
# Reference

Everything public, from its docstrings: first what `import popk` offers, then, on the same page,
what its packages offer beyond that, for those who extend popk. Nouns are values, made once and
never changed; verbs take them and return results as plain `xarray.DataTree`s.

"""


def _home(name: str) -> str:
    """The module right under popk that defines a name of `popk.__all__`."""
    import popk

    return ".".join(getattr(popk, name).__module__.split(".")[:2])


def _statistics_topic(name: str) -> str:
    """The page of a name of popk.statistics."""
    import popk
    from popk import statistics

    found = getattr(popk, name, None) or getattr(statistics, name)
    part = found.__module__.split(".")[2]
    return {"priors": "priors", "covariates": "covariates", "error": "error"}.get(
        part, "variability"
    )


def names_of_popk() -> dict[str, list[str]]:
    """The names of `popk.__all__` by page; a name whose module has no page goes to "more"."""
    import popk

    homes = {home: topic.page for topic in TOPICS if not topic.apart for home in topic.homes}
    found: dict[str, list[str]] = {}
    for name in sorted(popk.__all__, key=str.lower):
        home = _home(name)
        page = _statistics_topic(name) if home == "popk.statistics" else homes.get(home, "more")
        found.setdefault(page, []).append(f"popk.{name}")
    return found


def names_of_packages() -> dict[str, list[str]]:
    """What public packages offer beyond popk, by page."""
    import popk

    pages = {package: topic.page for topic in TOPICS for package in topic.packages}
    found: dict[str, list[str]] = {}
    seen: set[int] = set()
    for package, page in pages.items():
        module = import_module(package)
        for name in sorted(getattr(module, "__all__", ()), key=str.lower):
            value = getattr(module, name)
            if name in popk.__all__ or (callable(value) and id(value) in seen):
                continue
            seen.add(id(value))
            part = _statistics_topic(name) if _of_statistics(package, value) else page
            found.setdefault(part, []).append(f"{package}.{name}")
    return found


def _of_statistics(package: str, value: object) -> bool:
    module = getattr(value, "__module__", "")
    return package == "popk.statistics" and module.startswith("popk.statistics.")


def _directive(name: str) -> str:
    """The directive that documents a name, in reStructuredText."""
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute)
    if inspect.isclass(value):
        return f".. autoclass:: {name}\n   :members:\n"
    if callable(value):
        return f".. autofunction:: {name}\n"
    shown = pformat(value, width=90, sort_dicts=False)
    if " at 0x" in shown:  # an object that does not show itself: its type says more
        shown = f"a {type(value).__name__}"
    return f".. py:data:: {name}\n\n   ::\n\n{indent(shown, '      ')}\n"


def _entries(names: Iterable[str]) -> str:
    body = "\n".join(_directive(name) for name in names)
    return f"```{{eval-rst}}\n{body}```\n"


def _contents(names: Iterable[str]) -> str:
    """One line for each name, with the first sentence of its docstring."""
    lines = ["| name | what it is |", "|---|---|"]
    for name in names:
        module, _, attribute = name.rpartition(".")
        text = inspect.getdoc(getattr(import_module(module), attribute)) or ""
        first = " ".join(text.split("\n\n")[0].split())
        words = first.replace("|", "\\|").replace("`", "").replace("*", "\\*")
        lines.append(f"| {{py:obj}}`~{name}` | {words} |")
    return "\n".join(lines) + "\n"


def _page(topic: Topic, here: list[str], below: list[str]) -> str:
    parts = [f"# {topic.title}\n", f"{topic.words}\n"]
    if here:
        parts += [_contents(here), _entries(here)]
    if below:
        parts += ["## For those who extend popk\n", _entries(below)]
    return "\n".join(parts)


def _models_page() -> str:
    """The ready-made models, each with its description and its notes."""
    from popk import models
    from popk.model import PopModel

    parts = [
        "# Ready-made models\n",
        "Each is the name `model` in a module of `popk.models`; `popk models NAME` prints its "
        "card.\n",
    ]
    for found in iter_modules(models.__path__):
        module: ModuleType = import_module(f"popk.models.{found.name}")
        model = getattr(module, "model", None)
        if not isinstance(model, PopModel):
            continue
        text = inspect.getdoc(module) or ""
        notes = "\n".join(f"- {note}" for note in model.notes)
        parts.append(f"## {found.name}\n\n{text}\n\n{notes}\n")
    return "\n".join(parts)


def write_reference(folder: Path) -> None:
    """Write the pages to `folder`."""
    here, below = names_of_popk(), names_of_packages()
    more = Topic("more", "More", "Names that have no page of their own yet.", ())
    used = [topic for topic in (*TOPICS, more) if topic.page in here or topic.page in below]
    pages: dict[str, str | bytes] = {
        f"{topic.page}.md": _page(topic, here.get(topic.page, []), below.get(topic.page, []))
        for topic in used
    }
    pages["models.md"] = _models_page()
    nouns = [topic.page for topic in NOUNS if topic in used]
    verbs = [topic.page for topic in used if topic not in NOUNS]
    index = f"{INTRODUCTION}## Nouns\n\n{toctree([*nouns, 'models'])}\n## Verbs\n\n{toctree(verbs)}"
    write_pages(folder, {"index.md": index, **pages})

"""The documentation: complete, run, self-contained, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

import popk

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = ("_build", "_extensions", "reference", "validation", "tutorials", "command-line")
PAGES = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if path.relative_to(ROOT / "docs").parts[0] not in WRITTEN
]
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(path):
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def commands():
    """Every line of the documentation that begins with popk and a command."""
    for path in (*PAGES, ROOT / "README.md", ROOT / "SECURITY.md"):
        text = path.read_text(encoding="utf-8")
        whole = re.findall(r"`(popk [a-z-]+ [^`]*)`", text)
        whole += re.findall(r"^(popk [a-z-]+ .*)$", "\n".join(b for _, b in blocks(path)), re.M)
        for line in whole:
            yield pytest.param(" ".join(line.split()), id=f"{path.stem}: {line[:60]}")


def named(line):
    """Whether a line only names a command (`popk decide visit`) or its form (`popk report RUN`)."""
    words = shlex.split(line)
    form = re.search(r"\.\.\.|…|\b(?:RUN|DATA|NAME|MODEL|COMMAND|FILE|PATIENTS)\b", line)
    return bool(form) or all(re.fullmatch("[a-z-]+", word) for word in words)


def test_every_public_name_is_in_the_reference_once(extension):
    reference = extension("reference")
    listed = [name for names in reference.names_of_popk().values() for name in names]
    assert sorted(listed) == sorted(f"popk.{name}" for name in popk.__all__)
    assert len(popk.__all__) > 150
    beyond = [name for names in reference.names_of_packages().values() for name in names]
    assert len(beyond) == len(set(beyond))
    assert {"popk.individual.prepare", "popk.plots.plot_vpc", "popk.batch.mapped"} <= set(beyond)


def test_each_package_of_the_reference_is_one_of_popk(extension):
    topics = extension("reference").TOPICS
    for topic in topics:
        for package in topic.packages:
            assert (ROOT / package.replace(".", "/")).with_suffix(".py").is_file() or (
                ROOT / package.replace(".", "/").replace("popk/models", "models")
            ).is_dir()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_every_block_of_python_is_run(path):
    kinds = [kind for kind, _ in blocks(path)]
    assert not {"python", "py", "ipython3", "pycon"} & set(kinds), (
        f"{path} shows Python that nothing runs: write it as a {{code-cell}}"
    )
    head = path.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb\n")
    assert head == ("{code-cell}" in kinds), "a page with cells begins with file_format: mystnb"


def test_cells_are_run_whenever_the_site_is_built():
    text = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    assert 'nb_execution_mode = "force"' in text
    assert "nb_execution_raise_on_error = True" in text
    assert 'nb_execution_excludepatterns = ["tutorials/*"]' in text  # committed with outputs


@pytest.mark.parametrize("line", list(commands()))
def test_each_command_shown_can_be_parsed(line, tmp_path, monkeypatch):
    from popk.cli import app

    words = shlex.split(line)[1:]
    if named(line):
        found, *_ = app.parse_commands(words)
        assert found[:1] == (words[0],), f"popk has no command {words[0]}"
        return
    monkeypatch.chdir(tmp_path)
    app.parse_args(words, exit_on_error=False, print_error=False)


def check_names(site):
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    assert [name for name in popk.__all__ if f'id="popk.{name}"' not in text] == []


def check_equations(site):
    text = (site / "explanation" / "model.html").read_text(encoding="utf-8")
    assert "<math" in text
    for page in (site / "explanation").glob("*.html"):
        assert "math-source" not in page.read_text(encoding="utf-8")  # not drawn
    assert not re.search(r"<script[^>]*mathjax", text, re.IGNORECASE)


def check_results(site, validation):
    files = [*(ROOT / "benchmarks").glob("RESULTS*.md"), *ROOT.glob("*/*/RESULTS.md")]
    assert set(files) <= {ROOT / file for file, _ in validation.RESULTS.values()}
    text = (site / "validation" / "index.html").read_text(encoding="utf-8")
    for file in files:
        assert file.relative_to(ROOT).as_posix() in text
        for code in validation.codes(file.read_text(encoding="utf-8")):
            assert code[:12] in text


def test_the_site_is_complete_loads_nothing_and_its_links_lead_somewhere(site, extension):
    # One test: the site takes seconds to build, and processes that share the tests share nothing.
    assert len(list(site.rglob("*.html"))) > 40
    assert extension("check_site").faults(site) == []
    check_names(site)
    check_equations(site)
    check_results(site, extension("validation"))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<img src="//cdn.example/x.png">', "loads //cdn.example/x.png"),
        ('<link rel="stylesheet" href="http://x.example/a.css">', "loads http://x.example/a.css"),
        ("<style>@import url('https://x.example/a.css');</style>", "loads https://x.example"),
        ('<p style="background: url(https://x.example/a.png)">', "loads https://x.example/a.png"),
        ("<script>load('https://x.example/plotly.min.js')</script>", "plotly.min.js"),
        ('<a href="gone.html">x</a>', "gone.html, which does not exist"),
        ('<a href="#gone">x</a>', "#gone, a place that is not on that page"),
        ('<a href="other.html#gone">x</a>', "other.html#gone, a place that is not"),
        ('<a href="other.html#here">x</a> <a href="https://x.example">y</a>', None),
        ('<link rel="canonical" href="https://x.example/"><img src="data:image/png;,x">', None),
    ],
)
def test_the_check_of_a_site_finds_what_it_should(tmp_path, extension, body, fault):
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="here">x</p>', encoding="utf-8")
    found = extension("check_site").faults(tmp_path)
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]


def test_the_code_of_results_is_read_from_their_text(extension):
    codes = extension("validation").codes
    assert codes("- Code: commit 034381e3c917, x\ncommit ad52f89; commit 034381e3c917") == [
        "034381e3c917", "ad52f89",
    ]  # fmt: skip
    assert codes("Passed. commitment 12") == []


def test_prose_under_returns_is_kept_as_it_stands(extension):
    prose = ["Do.", "", "Returns", "-------", "A tree with", "``x``.", ""]
    lines = [*prose, "Raises", "------", "E", "    When."]
    extension("sources")._prose(None, "function", "f", None, None, lines)
    assert "Result\n------\nA tree with\n``x``.\n\nRaises" in "\n".join(lines)
    typed = ["Do.", "", "Returns", "-------", "int", "    How many."]
    extension("sources")._prose(None, "function", "f", None, None, typed)
    assert "Returns" in typed


def test_notebooks_become_tutorials_in_their_order(extension, tmp_path):
    tutorials = extension("tutorials")
    cell = '{"cells": [{"cell_type": "markdown", "source": ["%s"]}]}'
    source, folder = tmp_path / "notebooks", tmp_path / "out"
    source.mkdir()
    tutorials.write_tutorials(source, folder)
    assert [path.name for path in folder.iterdir()] == ["index.md"]
    for name in ("03_zeta", "02_one_patient", "01_first_fit"):
        (source / f"{name}.ipynb").write_text(cell % "# What?", encoding="utf-8")
    tutorials.write_tutorials(source, folder)
    listed = (folder / "index.md").read_text(encoding="utf-8")
    order = [listed.index(name) for name in ("01_first_fit", "02_one_patient", "03_zeta")]
    assert order == sorted(order)
    (source / "03_zeta.ipynb").write_text(cell % "no title", encoding="utf-8")
    with pytest.raises(ValueError, match=r"03_zeta\.ipynb does not begin with"):
        tutorials.write_tutorials(source, folder)


@pytest.mark.slow
def test_the_whole_site_is_built_with_every_block_run(whole_site, extension):
    assert extension("check_site").faults(whole_site) == []
    for path in (whole_site / "howto").glob("*.html"):
        if path.stem != "index":
            assert "cell_output" in path.read_text(encoding="utf-8")

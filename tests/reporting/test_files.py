"""What is written beside a page: tables, figures, a PDF."""

import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from popk.diagnostics import shrinkage
from popk.reporting import ReportError, great_table, parameter_table, report
from popk.reporting.printing import find_browser
from popk.reporting.table import Cell, Table


@pytest.fixture(scope="module")
def page(trees):
    return report(trees.fit_tree(trees.cohort(2)))


def test_every_table_is_written_in_full_precision(page, trees, tmp_path):
    written = page.write_tables(tmp_path / "new" / "tables")
    assert len(written) == page.html.count('<table class="gt_table"')
    (parameters,) = (path for path in written if "population-parameters" in path.name)
    frame = pd.read_csv(parameters, index_col="parameter")
    fit = trees.fit_tree(trees.cohort(2))
    draws = fit["posterior"]["V"].values
    assert frame.loc["V", "rse_percent"] == pytest.approx(100 * draws.std() / draws.mean())
    assert frame.loc["V", "unit"] == "L"
    data = pd.read_csv(next(path for path in written if "-data-" in path.name))
    assert ["subjects", "2"] in data.to_numpy().tolist()


def test_every_figure_is_written_as_a_file_of_its_own(page, tmp_path):
    written = page.write_figures(tmp_path / "figures")
    assert [path.name for path in written] == [
        "01-population.svg", "02-observed.svg", "03-individual.svg"
    ]  # fmt: skip
    for path in written:
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.attrib["aria-label"]


def test_a_great_table_escapes_and_marks():
    rows = ((Cell("<b>a"), Cell("1", "warn")), (Cell("b"), Cell("2", "yes")))
    html = great_table(Table("<i>t", ("<u>x", "y_z"), rows, "n & <s>", unsure=True)).as_raw_html()
    for words in ("&lt;b&gt;a", "&lt;i&gt;t", "&lt;u&gt;x", "y_z", "n &amp; &lt;s&gt;"):
        assert words in html
    assert "not converged" in html
    assert "text-decoration:underline" in html


def test_shrinkage_has_a_column_where_it_is_known(trees):
    fit = trees.fit_tree(trees.cohort(4))
    found = shrinkage(fit)
    table = parameter_table(fit, found)
    at = table.headers.index("Shrinkage")
    shown = {row[0].text: row[at].text for row in table.rows}
    expected = 100 * float(found["sd"].sel(quantity="eta_CL"))
    assert table.frame.set_index("parameter").loc["omega_CL", "shrinkage_percent"] == expected
    assert shown["omega_CL"].endswith("%")
    assert shown["CL (L/d)"] == ""


def test_without_a_browser_the_pdf_is_refused_in_words(page, tmp_path, monkeypatch):
    monkeypatch.setenv("POPK_BROWSER", str(tmp_path / "none"))
    with pytest.raises(ReportError, match="There is no Chromium, Chrome or Edge"):
        page.write_pdf(tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_fails_is_named(page, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("POPK_BROWSER", str(broken))
    with pytest.raises(ReportError, match=r"broken did not print the PDF \(exit 3\): no display"):
        page.write_pdf(tmp_path / "a.pdf")


def test_the_page_is_printed(page, tmp_path):
    if find_browser() is None:
        pytest.skip("not run: there is no Chromium, Chrome or Edge")
    path = page.write_pdf(tmp_path / "a.pdf")
    assert path.read_bytes().startswith(b"%PDF-")
    assert path.stat().st_size > 20_000

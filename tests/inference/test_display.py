"""What is shown while something is sampled."""

import io
import sys
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from popk.inference import ChainReport, Report, terminal_progress
from popk.inference.display import as_html, in_notebook
from popk.inference.progress import Reporter, shown

CHAINS = (
    ChainReport(done=100, total=400, divergences=2, tuning=True),
    ChainReport(done=400, total=400, ess=123.4),
)
DRAWING = Report(
    stage="sampling", done=500, total=800, divergences=2, ess=80.2, seconds_left=150.0,
    chains=CHAINS,
)  # fmt: skip


def test_a_report_says_what_is_known():
    assert DRAWING.note() == "2 divergences, ESS 80, 2 min left"
    kept = Report(stage="sampling", done=60, total=100, made=200, ess=50.0, seconds_left=7.4)
    assert kept.share == 0.25
    assert kept.note() == "kept of 200, ESS 50 (25 %), 7 s left"
    assert Report(stage="compiling").note() == ""
    assert Report(stage="s", seconds_left=9000.0).note() == "2.5 h left"


def test_the_time_left_follows_from_the_speed_of_the_stage(monkeypatch):
    now = iter([0.0, 10.0, 100.0, 102.0, 110.0])
    monkeypatch.setattr("popk.inference.progress.time", SimpleNamespace(perf_counter=now.__next__))
    told = []
    report = Reporter(told.append)
    report("first", 0, 10)
    report("first", 5, 10)
    report("second", 20, 100)  # 20 were there before
    report("second", 40, 100)
    report("second", 100, 100)
    assert [one.seconds_left for one in told] == [None, 10.0, None, 6.0, None]


def test_lines_of_a_log_name_stage_count_ess_and_time():
    text = io.StringIO()
    with terminal_progress(Console(file=text, width=40)) as listen:
        listen(Report(stage="compiling [the] model"))
        listen(DRAWING)
        listen(DRAWING)
    first, second = text.getvalue().splitlines()
    assert first.endswith("compiling [the] model")
    assert second.endswith("sampling 500/800, 2 divergences, ESS 80, 2 min left")


def test_a_terminal_has_a_bar_for_each_stage_and_chain():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with terminal_progress(console) as listen:
        listen(Report(stage="compiling"))
        listen(DRAWING)
        time.sleep(0.3)  # bars are drawn ten times a second
    out = text.getvalue()
    for words in ("compiling", "500/800", "ESS 80", "chain 1", "100/400", "tuning, 2 divergences",
                  "chain 2", "ESS 123"):  # fmt: skip
        assert words in out


def test_a_notebook_has_a_table():
    html = as_html([Report(stage="a < b"), DRAWING])
    assert html.count("<tr>") == 4
    for words in ("a &lt; b", '<progress value="500" max="800">', "chain 2", "ESS 123"):
        assert words in html


def test_a_notebook_is_known_by_its_kernel_and_updated_in_place(monkeypatch):
    display = pytest.importorskip("IPython.display")
    assert not in_notebook()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell)
    updates = []
    handle = SimpleNamespace(update=updates.append)
    monkeypatch.setattr(display, "display", lambda *_, **__: handle)
    with shown(progress=True) as report:
        report("sampling", 5, 10, chains=CHAINS)
    assert in_notebook()
    assert "5/10" in updates[-1].data
    assert "chain 2" in updates[-1].data

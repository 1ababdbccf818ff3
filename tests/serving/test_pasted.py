"""Event tables that are pasted become entries of the page."""

import pytest

from popk.serving.entered import read_form
from popk.serving.events import recorded
from popk.serving.faults import FormError
from popk.serving.pasted import read_pasted

TABLE = """ID,TIME,EVID,AMT,RATE,ADDL,II,DV,CENS,LLOQ,WT
S1,0,1,300,7200,2,28,.,0,.,72
S1,56,0,.,0,0,0,21.5,0,1,72
S1,84,0,.,0,0,0,1,1,1,72
"""
ASKED = {"target": "10", "probability": "90", "weeks": "4:8"}


@pytest.fixture
def needs(study):
    return study.needs


def refusal(text, needs, **settings):
    with pytest.raises(FormError) as caught:
        read_pasted(text, needs, **settings)
    return str(caught.value)


def test_a_table_becomes_rows(needs):
    form = read_pasted(TABLE, needs)
    assert form["patient"] == "S1"
    assert form["clock"] == "time"
    assert form["covariates"] == {"WT": "72"}
    assert form["doses"] == [
        {"when": "0", "amount": "300", "hours": "1", "more": "2", "every": "28"}
    ]
    assert form["samples"][0] == {"when": "56", "value": "21.5", "below": False, "limit": "1"}
    assert form["samples"][1] == {"when": "84", "value": "", "below": True, "limit": "1"}
    table = recorded(read_form({**form, **ASKED}, needs), needs).dataset.table
    assert table["TIME"].values.tolist() == [0, 56, 84]
    assert table["RATE"].values[0] == pytest.approx(7200)


@pytest.mark.parametrize("mark", ["\t", ";"])
def test_tabs_and_semicolons(needs, mark):
    assert read_pasted(TABLE.replace(",", mark), needs) == read_pasted(TABLE, needs)


def test_dates_and_clock_times(needs):
    table = "TIME,EVID,AMT,DV,WT\n2025-01-06 08:30,1,300,.,72\n2025-02-03 08:00,0,.,20,72\n"
    form = read_pasted(table, needs)
    assert form["clock"] == "dates"
    assert form["samples"][0]["when"] == "2025-02-03 08:00"
    apart = "DATE,TIME,EVID,AMT,DV,WT\n2025-01-06,08:30,1,300,.,72\n2025-02-03,08:00,0,.,20,72\n"
    again = read_pasted(apart, needs)
    assert [row["when"] for row in again["samples"]] == ["2025-02-03 08:00"]
    assert read_form({**form, **ASKED, "patient": "7"}, needs).samples[0].time == pytest.approx(
        28 - 0.5 / 24
    )


def test_one_of_several_patients(needs):
    both = TABLE + TABLE.split("\n", 1)[1].replace("S1", "S2").replace("21.5", "33")
    assert "S1, S2" in refusal(both, needs)
    assert read_pasted(both, needs, subject="S2")["samples"][0]["value"] == "33"
    assert "there is no patient" in refusal(both, needs, subject="S9")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("EVID", "EVENT"), "no column EVID"),
        ((",WT", ",WGT"), "no column WT"),
        (("S1,56,0", "S1,56,7"), "row 3, column EVID: “7”"),
        (("S1,84,0,.,0,0,0,1,1,1,72", "S1,84,0,.,0,0,0,1,-1,1,72"), "row 4, column CENS"),
        (("7200", "-2"), "row 2, column RATE"),
        (("84,0,.,0,0,0,1,1,1,72", "84,0,.,0,0,0,1,1,1,80"), "column WT changes (72 to 80)"),
        (("21.5", "21,5"), "row 3 has 12 cells"),
        (("ID,TIME", "TIME,TIME"), "twice"),
        (("S1,56", '"S1,56'), "quotation mark"),
    ],
)
def test_what_cannot_be_taken_is_said(needs, change, words):
    assert words in refusal(TABLE.replace(*change), needs)


def test_steady_state_is_not_dropped(needs):
    text = TABLE.replace("LLOQ,WT", "LLOQ,WT,SS").replace(",72\n", ",72,1\n")
    assert "column SS: “1” is not entered on this page" in refusal(text, needs)


def test_a_table_too_long_is_not_read(needs):
    assert "there is no table" in refusal("", needs)
    long = TABLE + "S1,99,0,.,0,0,0,20,0,1,72\n" * 400
    said = refusal(long, needs)
    assert "403 rows" in said
    assert "popk batch" in said


def test_by_the_server(client):
    response = client.post("/api/read", json={"text": TABLE})
    assert response.json()["patient"] == "S1"
    response = client.post("/api/read", json={"text": "<script>x</script>\n1"})
    assert response.status_code == 422
    assert response.json()["problems"][0]["field"] == "paste"
    assert client.post("/api/read", json={"text": 3}).status_code == 400
    assert client.post("/api/read", json=[1]).status_code == 422

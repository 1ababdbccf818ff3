"""What the page's server answers: the advice itself, and sentences for what cannot be used."""

import csv
import hashlib
import io
import json
import math
import threading
import time

import httpx
import numpy as np
import pytest

from popk.individual import Trough
from popk.individual.advice import STATEMENT
from popk.monitoring import individualise
from popk.serving.entered import read_form
from popk.serving.events import recorded
from popk.serving.faults import FormError


def ask(client, form):
    return client.post("/api/answer", json=form)


def sent(client, path, form):
    return client.post(path, data={"entries": json.dumps(form)})


def test_the_answer_is_that_of_individualise(client, study, form):
    answer = ask(client, form).json()
    dataset = recorded(read_form(form, study.needs), study.needs).dataset
    advice = individualise(
        study.fit, dataset, target=Trough(10, "mg/L"), probability=0.9, weeks=range(4, 9), seed=1
    )
    own = advice["decision"].to_dataset().isel(subject=0)
    np.testing.assert_allclose(answer["probability_by_week"]["probability"], own["probability"])
    assert answer["longest"] == float(own["longest"])
    assert answer["state"] == ""
    assert answer["label"] == "ADVICE"
    assert "P(trough ≥ 10 mg/L)" in answer["sentences"][0]
    assert "Monte Carlo error" in answer["sentences"][0]
    assert "2 samples of this patient" in answer["basis"]
    assert answer["statement"] == STATEMENT
    assert study.fit.attrs["data_hash"][:16] in answer["provenance"]
    assert "seed 1" in answer["provenance"]


def test_times_are_those_of_the_dates(study, form):
    table = recorded(read_form(form, study.needs), study.needs).dataset.table
    assert table["TIME"].values.tolist() == [0.0, 56.0, 84.0]
    assert table["EVID"].values.tolist() == [1, 0, 0]
    assert table["RATE"].values[0] == pytest.approx(7200)
    assert table["ADDL"].values[0] == 3


def test_a_sample_at_a_dose_is_drawn_before_it(study, form):
    same = form["doses"][0]["when"]
    form["doses"].append({"when": form["samples"][0]["when"], "amount": "300"})
    form["doses"].append({"when": form["samples"][1]["when"], "amount": "300"})
    form["doses"][0] = {"when": same, "amount": "300"}
    table = recorded(read_form(form, study.needs), study.needs).dataset.table
    assert table["EVID"].values.tolist() == [1, 0, 1, 0, 1]


def test_numbers_since_the_start_are_the_same_patient(client, form):
    dated = ask(client, form).json()
    form["clock"], form["doses"][0]["when"] = "time", "0"
    form["samples"] = [{"when": "56", "value": "21.5"}, {"when": "84", "value": "22.5"}]
    plain = ask(client, form).json()
    assert plain["probability_by_week"] == dated["probability_by_week"]
    assert plain["origin"] is None


def test_below_the_limit_is_read_as_such(client, study, form):
    form["samples"][1] = {
        "when": form["samples"][1]["when"],
        "value": "",
        "below": True,
        "limit": "1",
    }
    table = recorded(read_form(form, study.needs), study.needs).dataset.table
    assert table["CENS"].values.tolist() == [0, 0, 1]
    assert table["DV"].values[2] == 1
    assert ask(client, form).json()["samples"][1] == {"time": 84.0, "value": 1.0, "below": True}


def test_withheld_advice_has_no_probability_anywhere(client, form):
    form["samples"][1]["value"] = "0.02"
    answer = ask(client, form).json()
    assert answer["state"] == "withheld"
    assert answer["label"] == "WITHHELD"
    assert answer["longest"] is None
    for name in ("candidates", "probability_by_week", "draws", "curve"):
        assert answer[name] is None
    reasons = [one for one in answer["findings"] if one["severity"] == "withheld"]
    assert reasons
    assert any("sample row 2" in one["sentence"] for one in answer["findings"])
    record = sent(client, "/record.json", form).json()
    assert record["result"]["state"] == "withheld"
    assert record["result"]["by_week"] is None


def test_draws_judged_by_hand_give_the_advised_interval(client, form):
    answer = ask(client, form).json()
    troughs = np.array(answer["draws"]["troughs"])
    np.testing.assert_allclose(
        (troughs >= 10).mean(axis=1), answer["probability_by_week"]["probability"], atol=1e-9
    )


def test_a_fit_that_has_not_converged_is_never_final(served, unfinished, form):
    with httpx.Client(base_url=served(unfinished), timeout=60) as client:
        answer = ask(client, form).json()
        assert answer["label"] == "NOT FINAL"
        assert "did not converge" in answer["not_final"]
        assert "advised" not in str(answer["candidates"]["rows"])
        assert not any(answer["candidates"]["marked"])
        assert "R-hat of CL is 1.300" in answer["not_final"]
        assert "nothing on this page is a final result" in client.get("/").text
        assert (
            "did not converge" in sent(client, "/record.json", form).json()["result"]["not_final"]
        )
        assert "The fit did not converge" in sent(client, "/sheet", form).text


def test_the_sheet_is_a_page_that_prints(client, form):
    response = sent(client, "/sheet", form)
    assert response.status_code == 200
    assert "Dosing interval: patient S-07" in response.text
    assert "script-src" not in response.headers["content-security-policy"]


def test_the_record_says_what_it_rests_on(client, study, form):
    response = sent(client, "/record.json", form)
    assert response.headers["content-disposition"].startswith('attachment; filename="popk-S-07-')
    record = response.json()
    assert record["fit"]["model_hash"] == study.fit.attrs["model_hash"]
    assert record["input"] == form
    assert [row["EVID"] for row in record["events"]] == [1, 0, 0]
    assert record["versions"]["popk"]
    assert record["seed"] == 1
    assert record["result"]["longest_weeks"] == ask(client, form).json()["longest"]
    hashed = record.pop("sha256")
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == hashed


def test_the_record_as_a_table(client, form):
    response = sent(client, "/record.csv", form)
    assert response.headers["content-type"].startswith("text/csv")
    rows = dict(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert rows["input.patient"] == "S-07"
    assert 0 <= float(rows["result.by_week.0.probability"]) <= 1
    assert not any(value.startswith(("=", "+", "@")) for value in rows.values())


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        (("covariates", "WT"), "-70", "covariates.WT", ("Weight (WT)", "“-70” must be above 0")),
        (("covariates", "WT"), "", "covariates.WT", ("is missing", "kg")),
        (("covariates", "WT"), "72,5", "covariates.WT", ("comma", "72.5")),
        (("doses", 0, "when"), "2999-01-01T08:00", "doses.0.when", ("Doses, row 1", "future")),
        (("doses", 0, "when"), "yesterday", "doses.0.when", ("“yesterday” is not a date",)),
        (("doses", 0, "amount"), "-300", "doses.0.amount", ("Doses, row 1, amount", "“-300”")),
        (("doses", 0, "more"), "30", "doses.0.more", ("Doses, row 1", "in the future")),
        (("doses", 0, "every"), "", "doses.0.every", ("time between them", "is missing")),
        (("samples", 1, "value"), "high", "samples.1.value", ("Samples, row 2", "“high”", "mg/L")),
        (("samples", 0, "when"), "1999-01-01T08:00", "samples.0.when", ("before the first dose",)),
        (("samples", 0, "value"), "<script>x</script>", "samples.0.value", ("not a number",)),
        (("samples", 0, "value"), "1e999", "samples.0.value", ("not a number",)),
        (("samples", 0, "limit"), "30", "samples.0.value", ("below its limit",)),
        (("patient",), "<script>alert(1)</script>", "patient", ("cannot be used",)),
        (("patient",), "", "patient", ("is missing",)),
        (("target",), "0", "target", ("must be above 0",)),
        (("probability",), "100", "probability", ("99.9 or less",)),
        (("weeks",), "8:4", "weeks", ("as 4:8",)),
        (("weeks",), "1:100000", "weeks", ("at most 30",)),
        (("seed",), "1.5", "seed", ("whole number",)),
        (("clock",), "moon", "clock", ("“moon” is not known",)),
        (("doses",), [], "doses", ("there is none",)),
        (("doses",), "many", "doses", ("expected rows",)),
        (("doses",), [{"when": "x"}] * 201, "doses", ("201 rows", "at most 200")),
        (("samples",), [{}] * 101, "samples", ("101 rows", "at most 100")),
        (("samples", 0), {"value": ["1"], "when": 3}, "samples.0.value", ("expected one entry",)),
        (("samples", 0), {"sql": "1"}, "samples.0.when", ("“sql” is not known",)),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_field(client, said, form, path, value, field, words):
    place = form
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    response = ask(client, form)
    assert response.status_code == 422
    messages = said(response)
    assert field in messages
    for word in words:
        assert word in messages[field]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"3", b"{", b'"x"', b"[" * 100_000, b'{"target": NaN}', b"\xff\xfe"],
)
def test_what_is_no_form_is_answered_with_a_sentence(client, said, body):
    response = client.post(
        "/api/answer", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert all(message.endswith(".") for message in said(response).values())


def test_entries_of_another_kind_are_read_or_refused(study, form):
    odd = [None, True, 3, -1e308, [], {}, [[]], {"a": 1}, "x" * 3000, "\x00", "٣", "1_000", "0x10"]
    forms = [{**form, name: value} for name in form for value in odd]
    for kind in ("doses", "samples"):
        for name in ("when", "amount", "hours", "more", "every", "value", "below", "limit"):
            forms += [{**form, kind: [{**form[kind][0], name: value}]} for value in odd]
    refused = []
    for one in forms:
        try:
            recorded(read_form(one, study.needs), study.needs)
        except FormError as error:
            refused.append(error)
    assert len(refused) > len(forms) / 2
    assert all(fault.message.endswith(".") for error in refused for fault in error.faults)


def test_a_wrong_form_for_the_sheet_is_a_page_with_the_sentence(client, form):
    form["patient"] = "<script>alert(1)</script>"
    for path in ("/sheet", "/record.json", "/record.csv"):
        response = sent(client, path, form)
        assert response.status_code == 422
        assert "&lt;script&gt;" in response.text
        assert "<script>alert" not in response.text


def test_an_advised_day_that_has_passed_is_said(client, form):
    form["doses"][0] |= {"when": form["doses"][0]["when"], "more": "1"}
    form["samples"] = form["samples"][:1]
    notes = ask(client, form).json()["notes"]
    assert any("has passed" in note for note in notes)


def test_a_warm_answer_takes_less_than_a_second(client, form):
    ask(client, form)
    taken = []
    for k in range(5):
        form["samples"][1]["value"] = f"{22 + 0.1 * k:g}"
        began = time.perf_counter()
        assert ask(client, form).status_code == 200
        taken.append(time.perf_counter() - began)
    assert min(taken) < 1


def test_twenty_at_once_get_what_each_alone_would(client, form):
    forms = [{**form, "patient": f"S-{k}", "target": f"{5 + k % 7}"} for k in range(20)]
    alone = [ask(client, one).json()["probability_by_week"] for one in forms[:4]]
    found = [None] * len(forms)

    def work(k):
        found[k] = ask(client, forms[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(forms))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in found] == [200] * 20
    for k, expected in enumerate(alone):
        assert found[k].json()["probability_by_week"] == expected
    assert all(math.isfinite(response.json()["target"]) for response in found)

"""Damaged JSON of models: a sentence, or the model that it says; nothing is executed."""

import copy
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from popk_strategies import bytes_mutated, json_mutated, models

from popk.catalogue import CatalogueError, find_model, list_models
from popk.errors import PopkError
from popk.model import ModelError, PopModel

LONGEST = 10.0  # seconds of CPU for one model


def at(content, way):
    """What stands at the end of a way; KeyError where there is nothing."""
    for key in way:
        if isinstance(content, list) and not -len(content) <= key < len(content):
            raise KeyError(key)
        content = content[key]
    return content


def without(content, way):
    found = copy.deepcopy(content)
    del at(found, way[:-1])[way[-1]]
    return found


def read(text):
    """The model of a text, or None where it is refused in a sentence."""
    began = time.process_time()
    found, said = None, ""
    try:
        found = PopModel.from_json(text)
    except PopkError as fault:
        said = str(fault).strip()
    assert (found is None) == bool(said)
    assert time.process_time() - began < LONGEST
    return found


def assert_says(model, content, way):
    """Nothing that the JSON says, on this way to a part of it, was passed over."""
    assert PopModel.from_json(model.to_json()) == model
    try:
        wanted = at(content, way)
    except KeyError:  # it was taken out
        return
    try:
        same = at(model.to_dict(), way) == wanted
    except (KeyError, TypeError, IndexError):
        same = False
    # What is left out of a model's JSON is what holds without being said.
    assert same or PopModel.from_json(json.dumps(without(content, way))) == model, (way, wanted)


def check(n, seed):
    rng = np.random.default_rng(seed)
    originals = [json.loads(model.to_json()) for model in list_models()]
    refused = 0
    for k in range(n):
        content, way = json_mutated(rng, originals[k % len(originals)])
        found = read(json.dumps(content))
        refused += found is None
        if found is not None:
            assert_says(found, content, way)
    return refused


def check_bytes(n, seed):
    rng = np.random.default_rng(seed)
    texts = [model.to_json().encode() for model in list_models()]
    for k in range(n):
        content = bytes_mutated(rng, texts[k % len(texts)])
        found = read(content.decode("utf-8", "replace"))
        if found is not None:
            assert PopModel.from_json(found.to_json()) == found


def test_300_damaged_models():
    assert 100 < check(300, seed=1) < 300
    check_bytes(100, seed=2)


@pytest.mark.slow
def test_many_damaged_models():
    assert check(5000, seed=3) > 1000
    check_bytes(2000, seed=4)


@given(model=models())
@settings(max_examples=40, derandomize=True)
def test_any_model_comes_back_from_its_json(model):
    again = PopModel.from_json(model.to_json())
    assert again == model
    assert again.hash == model.hash
    assert again.to_json() == model.to_json()


PLAIN = {**find_model("theophylline").to_dict(), "notes": []}
TEXT = json.dumps(PLAIN)
DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "no JSON"),
        (TEXT.replace('"notes": []', f'"notes": {DEEP}'), "notes|no JSON|recursion"),
        (TEXT.replace('"covariates": []', f'"covariates": {DEEP}'), "no JSON|recursion"),
        ("1" * 5000, "no JSON"),
        ('{"name": "a", "name": "b"}', "gives name twice"),
        (json.dumps({**PLAIN, "name": 3}), "3 as name; expected a text"),
        (json.dumps({**PLAIN, "notes": [3]}), "as notes; expected a list of texts"),
        (json.dumps({**PLAIN, "structure": "OneCompartment"}), "structure"),
        (json.dumps({**PLAIN, "structure": 3}), "structure"),
        (json.dumps({**PLAIN, "units": None}), "units"),
        (json.dumps({**PLAIN, "units": {**PLAIN["units"], "time": ["h"]}}), "time"),
        (json.dumps({**PLAIN, "typical": {**PLAIN["typical"], "CL": None}}), "CL"),
        (json.dumps({**PLAIN, "error": []}), "error"),
    ],
)
def test_what_was_given_is_named(text, said):
    with pytest.raises(ModelError, match=said):
        PopModel.from_json(text)


@pytest.mark.parametrize(
    "kind",
    ["os.system", "object", "type", "__import__", "builtins.eval", "subprocess.Popen", "Path",
     "popk.structure.Custom", "open"],
)  # fmt: skip
def test_only_parts_of_models_are_made(kind):
    content = {**PLAIN, "structure": {"type": kind, "args": ["echo"]}}
    with pytest.raises(ModelError, match="which is not known here"):
        PopModel.from_json(json.dumps(content))


def test_files_that_hold_no_text_are_refused(tmp_path):
    path = tmp_path / "model.json"
    path.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(CatalogueError, match="not UTF-8 text"):
        find_model(str(path))
    with pytest.raises(CatalogueError, match="cannot be opened"):
        find_model(str(tmp_path / ("y" * 300 + ".json")))
    with pytest.raises(CatalogueError, match="There is no model file"):
        find_model(str(tmp_path / "none.json"))
    path.write_text("\ufeff" + json.dumps(PLAIN), encoding="utf-8")
    assert find_model(str(path)).hash == find_model("theophylline").hash

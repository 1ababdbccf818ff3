"""Machine code that is kept: found again for the same model alone, and right for any data."""

import gc
import json
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import numba
import numpy as np
import pytest

from popk.inference.density import Density, Ready, begin
from popk.inference.density.code import Key, kept_code, key_of, layout_path, made_code
from popk.inference.density.inputs import Inputs
from popk.inference.density.layout import Argument, Layout, Named
from popk.model import PopModel
from popk.statistics import IIV, LogNormal, Proportional
from popk.structure import OneCompartment, TwoCompartment

# A mean (free), effects of subjects around it, and weights of these; twice the effects follow.
LAYOUT = Layout(
    free=(Named("mean", ()), Named("u", ("subject", "effect"), ("subject", "effect"))),
    rest=(Named("double", ("subject", "effect"), ("subject", "effect")), Named("spread", (2,))),
    transformed=(),
    density=(Argument("weight", "float64", 1, False), Argument("subject", "int64", 0, True)),
    expanded=(Argument("place", "int32", 1, False),),
)


@numba.njit
def log_density(mean, u, weight, subject):
    apart = u - mean
    by_u = -apart * weight.reshape((-1, 1))
    value = 0.5 * (by_u * apart).sum() - 0.5 * mean.item() ** 2 * subject.item()
    return np.array(value), np.array(-by_u.sum() - mean.item() * subject.item()), by_u


@numba.njit
def expanded(mean, u, place):
    return 2.0 * u, np.array([mean.item(), float(place.sum())])


def by_hand(x, weight):
    mean, u = x[0], x[1:].reshape(len(weight), -1)
    apart = u - mean
    value = -0.5 * (weight[:, None] * apart**2).sum() - 0.5 * len(weight) * mean**2
    by_u = -weight[:, None] * apart
    return value, np.array([-by_u.sum() - len(weight) * mean, *by_u.ravel()])


def new_key(*foreign):
    return Key(f"test{uuid.uuid4().hex}", frozenset(foreign))


@pytest.fixture(scope="module")
def key():
    """A key of its own, whose files are removed in the end."""
    made = new_key()
    yield made
    path = layout_path(made)
    for file in path.parent.glob(f"*{made.digest}*"):
        file.unlink()


@pytest.fixture(scope="module")
def code(key):
    assert kept_code(key) is None
    return made_code(key, LAYOUT, (log_density, expanded))


def with_data(code, n, seed=0):
    rng = np.random.default_rng(seed)
    data = {"weight": rng.uniform(0.5, 2.0, n), "place": rng.integers(0, 9, 3)}
    coords = {"subject": [f"S{k}" for k in range(n)], "effect": ["CL", "V"]}
    return Density(code, data, coords)


def assert_right(density, seed=1):
    x = np.random.default_rng(seed).standard_normal(density.size)
    value, gradient = density.log_density(x)
    expected, slopes = by_hand(x, density.data["weight"])
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, slopes)
    found = density.expand(x)
    assert found["mean"] == x[0]
    np.testing.assert_array_equal(found["u"].ravel(), x[1:])
    np.testing.assert_array_equal(found["double"], 2 * found["u"])
    np.testing.assert_array_equal(found["spread"], [x[0], density.data["place"].sum()])


def test_one_code_serves_data_of_any_size_side_by_side(code):
    densities = [with_data(code, n, seed=n) for n in (1, 3, 40, 3)]
    for _ in range(2):
        for density in densities:
            assert_right(density)
    del densities[1:]
    gc.collect()
    [with_data(code, 50, seed=k).table for k in range(20)]  # would take freed memory
    assert_right(densities[0])


def test_other_data_are_another_density(code):
    density = with_data(code, 3)
    x = np.linspace(-1, 1, density.size)
    before = density.log_density(x)[0]
    given = 2 * density.data["weight"]
    other = density.with_data(weight=given)
    given[:] = np.nan  # a copy was taken when the density was first evaluated, or is taken now
    assert density.log_density(x)[0] == before
    with pytest.raises(ValueError, match="no data weight of the shape"):
        density.with_data(weight=np.ones(4))
    with pytest.raises(ValueError, match="no data weights"):
        density.with_data(weights=np.ones(3))
    assert other.size == density.size


def test_what_the_code_cannot_read_is_refused(code):
    density = with_data(code, 3)
    with pytest.raises(ValueError, match="a point has 7 coordinates"):
        density.log_density(np.zeros(6))
    large = density.with_data(place=np.array([1, 2, 2**40]))
    with pytest.raises(ValueError, match="place has values that are none of int32"):
        large.log_density(np.zeros(7))
    flat = Density(code, {**density.data, "weight": np.ones((3, 1))}, density.coords)
    with pytest.raises(ValueError, match="weight has 2 dimensions, not 1"):
        flat.log_density(np.zeros(7))


def test_where_the_density_is_not_finite_it_is_zero(code):
    density = with_data(code, 2)
    assert density.log_density(np.full(5, np.inf))[0] == -np.inf


def test_kept_code_is_found_under_its_key_alone(key, code):
    found = kept_code(key)
    assert found is not code
    assert found.layout == LAYOUT
    assert_right(with_data(found, 5))
    assert kept_code(new_key()) is None
    # Known by the name of a class of the user's own: it may mean something else by now.
    assert kept_code(replace(key, foreign=frozenset({object}))) is None


def test_damaged_code_is_made_anew(key, code):
    path = layout_path(key)
    whole = path.read_text()
    try:
        path.write_text(whole.replace('"mean"', '"maen"'))
        assert kept_code(key) is None
        path.unlink()
        assert kept_code(key) is None
    finally:
        path.write_text(whole)
    assert kept_code(key).layout == LAYOUT


def test_code_with_foreign_parts_is_not_written(key):
    foreign = new_key(object)
    assert_right(with_data(made_code(foreign, LAYOUT, (log_density, expanded)), 2))
    assert not list(layout_path(foreign).parent.glob(f"*{foreign.digest}*"))


OTHER_PROCESS = """
import json, sys
import numpy as np
from popk.inference.density import Density
from popk.inference.density.code import Key, kept_code
code = kept_code(Key({digest!r}, frozenset()))
data = {{"weight": np.arange(1.0, 7.0), "place": np.arange(3)}}
density = Density(code, data, {{"subject": list(range(6)), "effect": ["CL", "V"]}})
value, gradient = density.log_density(np.linspace(-1, 1, 13))
imported = sorted({{"pymc", "pytensor", "nutpie"}} & set(sys.modules))
print(json.dumps([value, gradient.tolist(), imported]))
"""


def test_another_process_finds_it_and_needs_no_compiler_of_graphs(key, code):
    program = OTHER_PROCESS.format(digest=key.digest)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    value, gradient, imported = json.loads(done.stdout)
    expected = by_hand(np.linspace(-1, 1, 13), np.arange(1.0, 7.0))
    assert value == pytest.approx(expected[0])
    np.testing.assert_allclose(gradient, expected[1])
    assert imported == []


def drawn(code, *, cores):
    """Draws of four chains; nothing here holds the density while they are made."""
    ready = Ready(with_data(code, 3), lambda seed: np.random.default_rng(seed).normal(size=7))
    sampler = begin(
        ready, lambda states: None, seed=4, cores=cores, stored=False, num_tune=200,
        num_draws=500, num_chains=4,
    )  # fmt: skip
    del ready
    gc.collect()
    until = time.monotonic() + 60
    while True:
        try:
            trace = sampler.wait(0.1)
            break
        except TimeoutError:
            assert time.monotonic() < until
    return [
        np.asarray(batch.column("mean").to_numpy())[200:] for batch in trace.get_arrow_trace()[0]
    ]


def test_chains_are_the_same_on_any_number_of_cores_and_right(code):
    one, two = drawn(code, cores=1), drawn(code, cores=2)
    np.testing.assert_array_equal(one, two)
    # The effects integrated out: the mean is normal with the precision of three times one.
    together = np.concatenate(one)
    assert abs(together.mean()) < 0.1
    assert together.std() == pytest.approx(3**-0.5, rel=0.1)


class _Own(Proportional):
    """An error of the user's."""


UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
SD = LogNormal(0.3, cv=0.2)
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": SD, "V": SD}),
    error=Proportional(SD),
    units=UNITS,
)
FORMS = {"CL": "adapted", "V": "adapted"}
INPUTS = Inputs({}, {}, varies=False)


def test_the_key_is_the_models_and_not_the_datas():
    key = key_of(MODEL, "data", FORMS, INPUTS)
    assert not key.foreign
    assert key == key_of(replace(MODEL, name="other", notes=("a",)), "other data", FORMS, INPUTS)
    two = {"CL": LogNormal(0.2, cv=0.3), "V1": LogNormal(5.0, cv=0.3)}
    two |= {"Q": LogNormal(0.5, cv=0.3), "V2": LogNormal(3.0, cv=0.3)}
    others = [
        key_of(replace(MODEL, error=Proportional(LogNormal(0.3, cv=0.21))), "data", FORMS, INPUTS),
        key_of(replace(MODEL, iiv=IIV({"V": SD, "CL": SD})), "data", FORMS, INPUTS),
        key_of(
            replace(MODEL, structure=TwoCompartment(), typical=two, iiv=IIV({"CL": SD})),
            "data", FORMS, INPUTS,
        ),
        key_of(MODEL, "data", {**FORMS, "V": "centred"}, INPUTS),
        key_of(MODEL, "data", FORMS, replace(INPUTS, varies=True)),
    ]  # fmt: skip
    assert len({key, *others}) == 6


def test_the_same_class_with_other_equations_is_another_key():
    """As when a cell of a notebook is run again: the model's hash is the same."""
    keys = []
    for factor in (1.0, 2.0):

        class Slower(OneCompartment):
            def rates(self, t, a, p, factor=factor):
                return tuple(factor * rate for rate in OneCompartment.rates(self, t, a, p))

        keys.append(key_of(replace(MODEL, structure=Slower()), "data", FORMS, INPUTS))
    assert keys[0] != keys[1]


def test_a_class_of_the_users_own_is_known():
    key = key_of(replace(MODEL, error=_Own(SD)), "data", FORMS, INPUTS)
    assert key.foreign == {_Own}


@numba.njit
def sum_of_many(*arguments):
    return np.array(arguments[0].item() * arguments[40][0]), arguments[40][0] * np.ones(())


@numba.njit
def nothing_more(*arguments):
    return (arguments[0] * 2.0,)


def test_code_may_take_more_arguments_than_python_puts_on_its_stack():
    arguments = tuple(Argument(f"data{k}", "float64", 1, is_length=False) for k in range(40))
    layout = Layout((Named("mean", ()),), (Named("double", ()),), (), arguments, ())
    code = made_code(new_key(object), layout, (sum_of_many, nothing_more))
    density = Density(code, {f"data{k}": np.full(2, float(k)) for k in range(40)}, {})
    value, gradient = density.log_density(np.array([3.0]))
    assert (value, gradient.tolist()) == (117.0, [39.0])

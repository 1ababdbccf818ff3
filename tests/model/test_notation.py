"""Expressions as text have the value of the expression: no parenthesis is missing."""

from __future__ import annotations

import random

import pytest

from popk.model.notation import (
    Choice,
    Number,
    Power,
    Symbol,
    add,
    call,
    divide,
    latex,
    latex_name,
    multiply,
    negative,
    power,
    subtract,
    text,
)

X, Y, Z = (Symbol(name) for name in "xyz")
TWO = Number(2.0)


@pytest.mark.parametrize(
    ("given", "as_text", "as_latex"),
    [
        (subtract(X, subtract(Y, Z)), "x - y + z", r"\mathrm{x} - \mathrm{y} + \mathrm{z}"),
        (
            subtract(X, negative(add(Y, Z))),
            "x + (y + z)",
            r"\mathrm{x} + \left(\mathrm{y} + \mathrm{z}\right)",
        ),
        (
            divide(X, multiply(Y, Z)),
            "x / (y * z)",
            r"\frac{\mathrm{x}}{\mathrm{y} \cdot \mathrm{z}}",
        ),
        (divide(X, divide(Y, Z)), "x * z / y", r"\frac{\mathrm{x} \cdot \mathrm{z}}{\mathrm{y}}"),
        (divide(Number(1.0), X), "1 / x", r"\frac{1}{\mathrm{x}}"),
        (
            multiply(add(X, Y), negative(Z)),
            "-(x + y) * z",
            r"-\left(\mathrm{x} + \mathrm{y}\right) \cdot \mathrm{z}",
        ),
        (multiply(X, X), "x**2", r"{\mathrm{x}}^{2}"),
        (power(negative(X), TWO), "(-x)**2", r"{\left(-\mathrm{x}\right)}^{2}"),
        (power(X, negative(Y)), "x**(-y)", r"{\mathrm{x}}^{-\mathrm{y}}"),
        (Power(Power(X, Y), Z), "(x**y)**z", None),
        (divide(X, add(Y, Z)), "x / (y + z)", r"\frac{\mathrm{x}}{\mathrm{y} + \mathrm{z}}"),
        (call("exp", negative(X)), "exp(-x)", r"\exp\left(-\mathrm{x}\right)"),
        (multiply(Number(-2.0), X), "(-2) * x", None),
        (add(X, Number(-2.0)), "x - 2", r"\mathrm{x} - 2"),
        (Number(1e-05), "1e-05", "10^{-5}"),
        (Number(0.1), "0.1", "0.1"),
        (multiply(Choice(X, 0.0, Y, Z), Z), "(y if x > 0 else z) * z", None),
    ],
)
def test_how_expressions_are_written(given, as_text, as_latex):
    assert text(given) == as_text
    if as_latex is not None:
        assert latex(given) == as_latex


@pytest.mark.parametrize(
    ("name", "kind", "written"),
    [
        ("CL", "parameter", r"\mathit{CL}"),
        ("V1", "parameter", "V_{1}"),
        ("V1", "subject", "V_{1,i}"),
        ("EC50", "parameter", r"\mathit{EC}_{50}"),
        ("GAMMA", "parameter", r"\gamma"),
        ("K_EL", "parameter", r"K_{\mathrm{EL}}"),
        ("A_central", "amount", r"A_{\mathrm{central}}"),
        ("concentration", "output", "C"),
        ("free_concentration", "output", r"C_{\mathrm{free}}"),
        ("free_target", "output", r"\mathrm{free\_target}"),
        ("beta_CL_WT", "population", r"\beta_{\mathrm{CL,WT}}"),
        ("omega_iov_CL", "population", r"\omega_{\mathrm{iov,CL}}"),
        ("half_time", "population", r"\mathrm{half}_{\mathrm{time}}"),
    ],
)
def test_how_names_are_set(name, kind, written):
    assert latex_name(name, kind) == written


def grown(rng, depth):
    """An expression made of operations, and its value computed by them."""
    if depth == 0:
        name = rng.choice("xyz")
        if rng.random() < 0.3:
            number = rng.choice([1.0, 2.0, -3.0, 0.25])
            return Number(number), number
        return Symbol(name), VALUES[name]
    (left, a), (right, b) = grown(rng, depth - 1), grown(rng, rng.randrange(depth))
    kind = rng.choice(["+", "-", "*", "/", "neg", "square"])
    if kind == "+":
        return add(left, right), a + b
    if kind == "-":
        return subtract(left, right), a - b
    if kind == "*":
        return multiply(left, right), a * b
    if kind == "/" and abs(b) > 1e-3:
        return divide(left, right), a / b
    if kind == "square":
        return power(left, TWO), a * a
    return negative(left), -a


VALUES = {"x": 1.7, "y": -0.6, "z": 3.1}


def test_the_value_of_the_text_is_that_of_the_operations():
    rng = random.Random(5)
    for _ in range(500):
        expression, value = grown(rng, rng.randrange(1, 6))
        written = text(expression)
        assert eval(written, {}, VALUES) == pytest.approx(value, rel=1e-9, abs=1e-9), written
        assert latex(expression).count(r"\left") == latex(expression).count(r"\right")

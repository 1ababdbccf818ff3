"""What popk has to do, what follows where it does not, and which tests of the repository cover it.

The checks say themselves which requirements they are evidence for. The documentation's page is
written from here, and tests/contracts/test_requirements.py keeps it true: every test exists, and
every requirement has a check that comes with popk, or the reason why it has none.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["REQUIREMENTS", "Requirement"]


@dataclass(frozen=True)
class Requirement:
    """A sentence that can be shown to be false.

    Parameters
    ----------
    id
        ``R-01``, ….
    sentence
        What is required.
    risk
        What follows where it is not so.
    tests
        Tests of the repository that cover it: a file, or ``file::function``.
    why_no_check
        Why `popk qualify` has no check of it, where it has none.
    """

    id: str
    sentence: str
    risk: str
    tests: tuple[str, ...]
    why_no_check: str = ""


REQUIREMENTS = (
    Requirement(
        "R-01",
        "Concentrations are the exact solution of the structure's equations after every kind of "
        "dose that data can hold: bolus, infusion, depot, ADDL, SS, lag, bioavailability, modelled "
        "rates and durations, resets.",
        "A wrong concentration is a wrong interval.",
        (
            "tests/structure/engine/test_exact.py",
            "tests/structure/engine/test_steady_state.py",
            "tests/structure/engine/test_dose_parameters.py",
            "tests/reference/test_dosing.py",
            "tests/reference/test_dosing_rules.py",
        ),
    ),
    Requirement(
        "R-02",
        "Derivatives are those of the concentrations computed.",
        "The sampler stops at, or moves around, a posterior that is not the model's.",
        (
            "tests/contracts/test_structures.py::"
            "test_value_and_gradient_are_those_of_its_own_rates",
            "tests/structure/engine/test_exact.py",
            "tests/reference/test_exact_values.py",
        ),
    ),
    Requirement(
        "R-03",
        "No digits are lost where rates meet, vanish or differ by orders of magnitude, and no "
        "parameter values give something that is not a number.",
        "A fit that passes near such a point is wrong there without a sign of it.",
        (
            "tests/reference/test_exact_values.py",
            "tests/structure/engine/test_exact.py::test_high_precision_reference",
            "tests/contracts/test_structures.py::test_nothing_but_numbers_around_the_examples",
        ),
    ),
    Requirement(
        "R-04",
        "Saturable and target-mediated elimination are solved to the tolerance stated.",
        "A wrong trough at low concentrations, where intervals are decided.",
        (
            "tests/contracts/test_structures.py",
            "tests/structure/engine/test_runge_kutta.py",
            "tests/structure/test_target_mediated.py",
        ),
    ),
    Requirement(
        "R-05",
        "The same history written in another way (ADDL, origin of time, units) gives the same "
        "concentrations; records mean what NONMEM takes them to mean.",
        "Advice would depend on who typed the table.",
        (
            "tests/reference/test_dosing.py",
            "tests/structure/engine/test_exact.py::test_a_run_is_its_doses_one_by_one",
            "tests/contracts/test_structures.py::test_dimensions_are_those_of_the_equations",
        ),
    ),
    Requirement(
        "R-06",
        "A patient's likelihood is integrated over its random effects; samples below the limit of "
        "quantification count as such.",
        "Variability between patients is wrong, and with it every probability.",
        (
            "tests/reference/test_wang.py",
            "tests/individual/test_kernel.py",
            "tests/inference/marginal/test_cohort.py",
        ),
    ),
    Requirement(
        "R-07",
        "The draws of a fit that is said to have converged are those of the posterior of its model "
        "and data; one that has not converged says so.",
        "Advice rests on a population that the data do not support.",
        (
            "tests/inference/marginal/test_method.py",
            "tests/diagnostics/test_convergence.py",
            "tests/recovery/test_cohort.py",
            "tests/recovery/test_published_fits.py",
        ),
    ),
    Requirement(
        "R-08",
        "The same seed gives the same result on the same machine, whatever the number of cores.",
        "A result that cannot be repeated cannot be reviewed.",
        (
            "tests/inference/marginal/test_method.py::"
            "test_draws_depend_on_the_seed_and_not_on_the_cores",
            "tests/study/test_conduct.py",
            "tests/batch/test_table.py::test_the_numbers_do_not_depend_on_the_chunks",
        ),
    ),
    Requirement(
        "R-09",
        "P(trough >= target) is that of the patient's posterior given the model, and its Monte "
        "Carlo error is stated.",
        "Too long an interval: the trough falls below the target.",
        (
            "tests/individual/test_advice.py",
            "tests/individual/test_forecast.py",
            "tests/recovery/test_decisions.py",
        ),
    ),
    Requirement(
        "R-10",
        "The interval advised is the longest candidate that, like every shorter one, holds the "
        "target with the probability asked.",
        "Too long an interval: the trough falls below the target.",
        ("tests/individual/test_decision.py", "tests/decision/test_intervals.py"),
    ),
    Requirement(
        "R-11",
        "Where patients are of the population that the advice rests on, intervals advised with a "
        "probability hold the target at least that often.",
        "Too long an interval, for a group of patients at once.",
        (
            "tests/recovery/test_new_patients.py",
            "tests/recovery/test_decisions.py",
            "tests/calibration/test_sbc.py",
        ),
    ),
    Requirement(
        "R-12",
        "Advice is withheld or widened, with the reason by name, where a patient's records speak "
        "against it.",
        "Confident nonsense from mistaken units, times or doses, or for a patient who changed.",
        (
            "tests/monitoring/test_unsafe.py",
            "tests/monitoring/test_ordinary.py",
            "tests/monitoring/test_against_brute_force.py",
        ),
    ),
    Requirement(
        "R-13",
        "Data that are wrong are refused before anything is computed, with row, ID and column; "
        "nothing is repaired in silence.",
        "Confident nonsense.",
        (
            "tests/dataset/test_checks.py",
            "tests/dataset/test_bad_inputs.py",
            "tests/dataset/test_problems.py",
        ),
    ),
    Requirement(
        "R-14",
        "Every quantity has a unit, and numbers in different units are not compared.",
        "A factor of a thousand.",
        (
            "tests/test_units.py",
            "tests/individual/test_decision.py::test_another_scale_is_refused_naming_both",
        ),
    ),
    Requirement(
        "R-15",
        "A stored result that was damaged or changed is refused.",
        "A wrong number is taken for a computed one.",
        ("tests/test_storage.py", "tests/inference/runs/test_chunks.py"),
    ),
    Requirement(
        "R-16",
        "A fit that is interrupted, however it may be, goes on and ends as if it had not been.",
        "Lost work, or a posterior made of two.",
        ("tests/inference/runs/test_resuming.py", "tests/inference/runs/test_whole_runs.py"),
        "A fit has to be killed many times, for minutes; benchmarks/check_kills.py does so.",
    ),
    Requirement(
        "R-17",
        "Wherever an interval is shown, its target, its probability, what it rests on and what "
        "speaks against it are shown with it.",
        "Somebody reads an interval without its conditions.",
        (
            "tests/reporting/test_bedside.py",
            "tests/monitoring/test_advice.py::test_tables_say_what_is_withheld_and_why",
            "tests/serving/test_page.py",
        ),
        "What a page says does not depend on the installation; the tests read the pages.",
    ),
    Requirement(
        "R-18",
        "Nothing of a patient leaves the machine, and no code is executed from data, stored models "
        "or results.",
        "Patients' data disclosed; a machine taken over.",
        ("tests/serving/test_guard.py", "tests/test_model.py::test_nothing_in_a_json_is_ignored"),
        "It is a property of the code, not of an installation; SECURITY.md says what is trusted.",
    ),
)

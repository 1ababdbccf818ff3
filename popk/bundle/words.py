"""The text that a bundle brings along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["readme"]


def readme(index: Mapping[str, Any], subjects: int) -> str:
    """What is in a bundle and how it is repeated, for whoever finds it."""
    expected, method = index["expected"], index["method"]["name"]
    made = ", ".join(f"{name} {number}" for name, number in index["versions"].items())
    machine = index["environment"]
    return f"""\
A run of popk, to be made again elsewhere.

Model: {index["model_name"]}. Data: {subjects} patients. Method: {method}. Seed: {index["seed"]}.
Research software: it informs, it does not prescribe.

THE DATA OF ALL PATIENTS ARE IN THIS FILE (data.nc): IDs, doses, times, concentrations, covariates.

Files
  bundle.json    what is expected: digests of the draws, means of the population parameters with
                 their Monte Carlo standard errors; SHA-256 and size of every other file
  run.json       model and data by their hashes, method and settings, seed, versions, machine
  model.json     the model; equations are kept as steps of arithmetic, no code is in it
  data.nc        the data as they were fitted, with units (netCDF)
  history.json   each time that the run was begun or continued
  verdict.json   whether the fit converged
  journal.jsonl  what happened to the run, each line with the hash of the one before

To repeat it
  popk repeat THIS_FILE --out FOLDER
checks every file against bundle.json, samples with the same settings and seed, and compares. With
the versions and the kind of machine below, the draws are to be identical to the bit; with others,
the means are compared in Monte Carlo standard errors.

Made with: {made}; {machine["python"]}.
Machine: {machine["system"]}, {machine["machine"]}, {machine["processor"]}.
Model (SHA-256): {index["model_hash"]}
Data (SHA-256): {index["data_hash"]}
Draws (SHA-256): {expected["draws"]}
Last line of the journal: {expected["journal"] or "there is no journal"}

A bundle that was made up as a whole would not show: compare its SHA-256 with the one that its maker
says (popk repeat --expect).
"""

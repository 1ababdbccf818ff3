"""Errors that a user can cause: their texts are sentences, written for the user."""

from __future__ import annotations

__all__ = ["PopkError", "SettingError"]


class PopkError(ValueError):
    """Base of every error that what was given can cause; its text says what to do.

    Anything else that popk raises is a fault of popk.
    """


class SettingError(PopkError):
    """A setting that makes no sense: of a sampler, regimen, target, prior, covariate, structure."""

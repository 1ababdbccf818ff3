"""What a model that cannot be used says."""

from __future__ import annotations

from collections.abc import Iterable

from popk.errors import PopkError


class ModelError(PopkError):
    """A model that cannot be used, with everything that is wrong in it."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"The model cannot be used: {self.faults[0]}"
        return "The model cannot be used:\n" + "\n".join(f"  {fault}" for fault in self.faults)

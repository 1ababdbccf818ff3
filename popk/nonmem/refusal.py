"""What a control stream that cannot be imported says."""

from __future__ import annotations

from collections.abc import Iterable

from popk.errors import PopkError

__all__ = ["NonmemError"]


class NonmemError(PopkError):
    """A NONMEM control stream of which no model can be made, with every reason found."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"The control stream cannot be imported: {self.faults[0]}"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        return f"The control stream cannot be imported:\n{lines}"

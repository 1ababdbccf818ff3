"""Models of popk from NONMEM control streams, with an account of every part."""

from popk.nonmem.imported import Carried, Imported, LeftOut
from popk.nonmem.importer import from_nonmem
from popk.nonmem.refusal import NonmemError

__all__ = ["Carried", "Imported", "LeftOut", "NonmemError", "from_nonmem"]

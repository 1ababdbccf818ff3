"""A run as one file, from which it can be made again elsewhere."""

from popk.bundle.contents import Contents, contents_of, write_bundle
from popk.bundle.export import export_run
from popk.bundle.opening import Bundle, BundleError, open_bundle
from popk.bundle.repetition import Repetition, repeat_bundle, repeat_run

__all__ = [
    "Bundle",
    "BundleError",
    "Contents",
    "Repetition",
    "contents_of",
    "export_run",
    "open_bundle",
    "repeat_bundle",
    "repeat_run",
    "write_bundle",
]

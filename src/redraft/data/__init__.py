"""Files -> raw examples: layouts recognised, checked, split, cached, ordered by (seed, epoch)."""

from redraft.data.cache import Cache, Store, build
from redraft.data.captions import captioned
from redraft.data.check import Finding, Report, check
from redraft.data.embedded import Entry, catalogue, embedded, embedded_names
from redraft.data.folder import Example, Folder
from redraft.data.inputs import read_label_map, read_picture
from redraft.data.loader import Loader, Raw, in_order
from redraft.data.recognise import recognise
from redraft.data.source import Source

__all__ = [
    "Cache",
    "Entry",
    "Example",
    "Finding",
    "Folder",
    "Loader",
    "Raw",
    "Report",
    "Source",
    "Store",
    "build",
    "captioned",
    "catalogue",
    "check",
    "embedded",
    "embedded_names",
    "in_order",
    "read_label_map",
    "read_picture",
    "recognise",
]

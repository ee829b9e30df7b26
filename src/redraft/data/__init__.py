"""Files -> raw examples: layouts recognised, checked, split, cached, ordered by (seed, epoch)."""

from redraft.data.cache import Cache, Store, build
from redraft.data.folder import Example, Folder
from redraft.data.inputs import read_label_map, read_picture
from redraft.data.loader import Loader, Raw, in_order
from redraft.data.recognise import recognise
from redraft.data.source import Source

__all__ = [
    "Cache",
    "Example",
    "Folder",
    "Loader",
    "Raw",
    "Source",
    "Store",
    "build",
    "in_order",
    "read_label_map",
    "read_picture",
    "recognise",
]

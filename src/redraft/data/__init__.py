"""Files -> raw examples: layouts recognised, checked, split, cached, ordered by (seed, epoch)."""

from redraft.data.cache import Cache, Store
from redraft.data.folder import Example, Folder
from redraft.data.loader import Loader, Raw, in_order
from redraft.data.recognise import recognise
from redraft.data.source import Source

__all__ = ["Cache", "Example", "Folder", "Loader", "Raw", "Source", "Store", "in_order", "recognise"]

"""A trained model as a folder that describes itself: ``save``, ``load``, ``match``."""

from redraft.hub.bundle import Bundle, load, match, part, save

__all__ = ["Bundle", "load", "match", "part", "save"]

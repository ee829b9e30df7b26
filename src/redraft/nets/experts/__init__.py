"""Experts by name: frozen pretrained networks whose representations redraft works on (docs/experts.md)."""

from redraft.nets.experts.blackbox import BlackBox
from redraft.nets.experts.doors import Listed, listed, load, names
from redraft.nets.experts.expert import Expert, Kind, Shape

__all__ = ["BlackBox", "Expert", "Kind", "Listed", "Shape", "listed", "load", "names"]

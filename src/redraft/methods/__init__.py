"""One file a paper. ``METHODS`` is the whole list, by the names that users type."""

from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopnets import CoopNets

METHODS: dict[str, type[CoopNets] | type[CCoopNets]] = {"coopnets": CoopNets, "ccoopnets": CCoopNets}

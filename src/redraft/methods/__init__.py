"""One file a paper. ``METHODS`` is the whole list, by the names that users type."""

from typing import Any

from redraft.methods.autoencoder import Autoencoder
from redraft.methods.ccoopnets import CCoopNets
from redraft.methods.coopinit import CoopInit
from redraft.methods.coopnets import CoopNets
from redraft.methods.cut import Cut
from redraft.methods.diffusion import Diffusion
from redraft.methods.fusion import Fusion
from redraft.methods.gan import Gan
from redraft.methods.piti import Piti
from redraft.methods.pix2pix import Pix2Pix
from redraft.methods.solver import Solver

METHODS: dict[str, Any] = {
    "coopnets": CoopNets,
    "ccoopnets": CCoopNets,
    "gan": Gan,
    "pix2pix": Pix2Pix,
    "cut": Cut,
    "coopinit": CoopInit,
    "fusion": Fusion,
    "diffusion": Diffusion,
    "piti": Piti,
    "solver": Solver,
    "autoencoder": Autoencoder,
}

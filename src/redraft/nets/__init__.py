"""Networks: nn.Modules with no losses. An energy has ``encode``, ``forward(x, code)`` and ``given``."""

"""How good are they: pure functions on pictures [N, C, H, W] in [-1, 1], and the report that shows what came out."""

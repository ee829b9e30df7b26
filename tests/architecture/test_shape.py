"""What the house promises about its own files."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
from pathlib import Path

import pytest

from redraft.methods import METHODS
from redraft.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = [
    f for folder in ("src", "tests", "benchmarks", "scripts") for f in sorted((ROOT / folder).rglob("*.py"))
]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize(
    ("room", "table", "shared"),
    [
        ("methods", METHODS, {"contest", "denoising", "method", "thinking", "upsampler"}),
        ("tasks", TASKS, {"task"}),
    ],
)
def test_every_method_and_task_is_one_file_of_its_name(
    room: str, table: dict[str, type], shared: set
) -> None:
    files = {f.stem for f in (ROOT / "src/redraft" / room).glob("*.py")} - {"__init__"}
    assert files - shared == set(table)
    for key, cls in table.items():
        assert cls.__module__ == f"redraft.{room}.{key}"


@pytest.mark.parametrize("file", CODE, ids=name)
def test_no_file_is_long(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_every_module_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", [f for f in SOURCES if f.name == "__init__.py"], ids=name)
def test_what_is_exported_exists_and_is_documented(file: Path) -> None:
    package = importlib.import_module(module(file))
    exported = getattr(package, "__all__", [])
    assert sorted(set(exported), key=exported.index) == list(exported)
    for each in exported:
        value = getattr(package, each)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert documented(value), f"{package.__name__}.{each} has no docstring"


def documented(value: type) -> bool:
    written = inspect.getdoc(value) or ""
    return bool(written) and not written.startswith(f"{getattr(value, '__name__', '')}(")  # dataclasses' own


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / f for f in listed.stdout.split("\0") if f]


def test_no_machine_is_written_into_the_project() -> None:
    """Paths of somebody's machine, and addresses of package indexes, work nowhere else."""
    machine = re.compile(r"(?<![\w.~])/(?:home|root|Users|work|mnt|opt|tmp)/[\w.-]|index-url\s*=|//pypi\.")
    found = []
    for file in tracked():
        if (
            file.suffix in {".py", ".md", ".toml", ".txt", ".cff", ".yaml", ".yml", ".json"}
            or file.name == "Makefile"
        ):
            lines = file.read_text(errors="replace").splitlines() if file.exists() else []
            found += [f"{name(file)}:{i}" for i, line in enumerate(lines, 1) if machine.search(line)]
    assert [f for f in found if not f.startswith("tests/architecture/test_shape.py")] == []


def test_the_package_is_small_enough_to_carry() -> None:
    """Embedded data and weights stay under 16 MB together, and nothing is hidden elsewhere."""
    data = [f for f in tracked() if f.exists() and f.suffix not in {".py", ".md"} and "src" in f.parts]
    assert sum(f.stat().st_size for f in data) <= 16 * 2**20

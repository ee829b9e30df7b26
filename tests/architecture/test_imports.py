"""The house's floors are checked here, not only drawn in docs/design.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """The import contracts of pyproject.toml, checked on the package under ``folder``/src."""
    code = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
    )


def test_imports_point_down() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("where", "imports"),
    [
        ("core/errors.py", "redraft.nets"),  # up
        ("sampling/latent.py", "redraft.nets.blocks"),  # sideways
        ("methods/coopnets.py", "redraft.methods.ccoopnets"),  # one method knows another
        ("methods/ccoopnets.py", "redraft.data"),  # a method knows the data
        ("tasks/none.py", "redraft.methods"),  # sideways, one floor up
        ("hub/bundle.py", "redraft.evaluation"),  # sideways, at the top
        ("nets/blocks.py", "torchvision"),
        ("hub/bundle.py", "pickle"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, where: str, imports: str) -> None:
    ignore = shutil.ignore_patterns(
        "__pycache__", "*.npy", "*.npz", "*.png", "*.zip", "*.gz", "*.safetensors"
    )
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "src/redraft" / where
    file.write_text(file.read_text() + f"\nimport {imports}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0 and "BROKEN" in result.stdout


def test_help_is_quick_and_wakes_no_torch() -> None:
    code = (
        "import sys\nfrom redraft.cli.main import main\nsys.argv = ['redraft', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'torchmetrics', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    # a machine that runs other tests beside this one is no measure: CPU time, the best of three
    spent = []
    for _ in range(3):
        before = os.times()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = os.times()
        assert result.returncode == 0, result.stderr
        assert "train" in result.stdout and "generate" in result.stdout
        spent.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert min(spent) < 0.5

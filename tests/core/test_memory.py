"""Memory that is freed stays with the process, where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from redraft.core import memory

PAGES = """
import resource
from redraft.core.memory import keep_freed_memory

if {asked}:
    assert keep_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * (64 << 20)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del block
print(*faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize("asked", [True, False])
def test_a_block_that_was_freed_is_had_again_without_the_system(asked: bool) -> None:
    """64 MiB thrice: 16,384 pages of 4 KiB, or 32 large ones; only the first time when they are kept."""
    child = subprocess.run(
        [sys.executable, "-c", PAGES.format(asked=asked)], capture_output=True, text=True, check=True
    )
    first, *again = map(int, child.stdout.split())
    assert first >= 32
    assert all(n < 16 if asked else n >= 32 for n in again)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not memory.keep_freed_memory()

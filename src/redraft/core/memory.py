"""What a process does with memory that it no longer needs."""

from __future__ import annotations

import sys

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """From now on this process keeps the memory of freed tensors for the next ones; whether it could.

    glibc gives memory back to the system as it is freed, large blocks at once, and gets it anew, page by
    page and zeroed: in a step that makes a gigabyte of gradients up to half of all time
    (docs/results/speed.md). So all blocks come from the heap, which is never trimmed. The peak grows by 1
    to 5 %, and between its needs the process holds it. For a program that trains or samples and then
    ends; nothing happens where the C library is another one.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; musl has none
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))

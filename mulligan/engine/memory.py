"""Memory: how much of it training took, and keeping what was freed for the next step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

# of glibc's <malloc.h>; values are its own defaults, and what training wants instead
TRIM_THRESHOLD, TRIM_DEFAULT, TRIM_NEVER = -1, 128 << 10, 2**31 - 1
MMAP_THRESHOLD, MMAP_DEFAULT, MMAP_MOST = -3, 128 << 10, 32 << 20


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, memory freed on the CPU is kept for the next step instead of being given back and faulted in anew.

    That is a tenth of a step on large batches. Only glibc can be told so; elsewhere nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(TRIM_THRESHOLD, TRIM_NEVER)
    libc.mallopt(MMAP_THRESHOLD, MMAP_MOST)
    try:
        yield
    finally:
        libc.mallopt(TRIM_THRESHOLD, TRIM_DEFAULT)
        libc.mallopt(MMAP_THRESHOLD, MMAP_DEFAULT)
        libc.malloc_trim(0)


def memory_size(device: torch.device) -> int:
    """Memory that the machine or the GPU has, in bytes; 0 where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if not hasattr(os, "sysconf"):  # Windows
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the process on the CPU, of torch's allocator on a GPU; 0 where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux; rusage would count the peak of the process that started this one too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

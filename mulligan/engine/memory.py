"""Memory: how much of it training takes, a clear error where there is too little, and keeping what was freed."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mulligan.core.batch import refuse_other_shape, staged
from mulligan.core.errors import UserError

if TYPE_CHECKING:
    from mulligan.engine.loop import Game

FULL = "the memory of {device} is full; --set accumulate=2, or more, plays a batch in so many parts"
ROOM = 0.5  # share of memory that the estimate may fill, as it is a lower bound
# of glibc's <malloc.h>: its parameters, its defaults, and the values for training
TRIM_THRESHOLD, TRIM_DEFAULT, TRIM_NEVER = -1, 128 << 10, 2**31 - 1
MMAP_THRESHOLD, MMAP_DEFAULT, MMAP_MOST = -3, 128 << 10, 32 << 20


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside this context, memory freed on the CPU is kept for the next step and not returned to the system.

    Getting it back takes a tenth of a step on large batches. Only glibc has this setting; elsewhere nothing changes.
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


@contextlib.contextmanager
def explain_full_memory() -> Iterator[None]:
    """Inside this context, memory that runs out is a UserError.

    Linux may kill the process instead: see `refuse_too_large`.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(FULL.format(device="the GPU")) from None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # the words of torch on a CPU
            raise
        raise UserError(FULL.format(device="this machine")) from None


def memory_size(device: torch.device) -> int:
    """Memory that the machine or the GPU has, in bytes; 0 where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if not hasattr(os, "sysconf"):  # Windows
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the process on the CPU, of torch's allocator on a GPU; 0 where it is not known."""
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


def least_memory(game: Game) -> tuple[int, int]:
    """A lower bound of the bytes that training takes; and of these, the part that grows with the samples of a pass.

    Weights, their gradients, Adam's moments and G's average; and what autograd saves in a pass, estimated from two
    small ones. Terms, and temporary tensors within a layer, are left out.
    """
    weights = [each for net in (game.g.net, game.d.net) for each in (*net.parameters(), *net.buffers())]
    count = game.micro_batch
    few = [_saved(game, samples) for samples in (min(2, count), min(4, count))]
    passing = (few[1] - few[0]) * count // 2 if count > 4 else few[1]
    average = sum(each.nbytes for each in game.g.net.parameters())
    return 4 * sum(each.nbytes for each in weights) + average + passing, passing


def refuse_too_large(game: Game) -> None:
    """Raises UserError where the device has less memory than training takes."""
    size = memory_size(game.device)
    least, passing = least_memory(game)
    if not size or least <= size:
        return
    halves = {n for n in range(1, math.isqrt(game.batch) + 1) if game.batch % n == 0}
    parts = sorted(halves | {game.batch // n for n in halves})[1:]  # divisors, in a moment also of a billion
    fitting = [n for n in parts if least - passing + passing * game.accumulate // n < ROOM * size]
    advice = (
        f"give --set accumulate={fitting[0]}, which plays a batch in so many parts" if fitting else "use a smaller one"
    )
    raise UserError(
        f"this recipe takes {least / 1e9:,.1f} GB of memory at least, of which {passing / 1e9:,.1f} for a batch of "
        f"{game.batch}, and this device has {size / 1e9:,.1f}; {advice}"
    )


def _saved(game: Game, samples: int) -> int:
    """Bytes that autograd saves in G's pass and in D's after it."""
    saved: dict[int, int] = {}

    def save(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(save, lambda x: x), game.autocast():
        batch, z = game.train_batch(0, samples), torch.randn(samples, *game.z_shape, device=game.device)
        try:
            fake = game.g.net(z, batch.cond)
            stages = game.g.net.stage_count
            refuse_other_shape(fake, staged(batch.real, stages), stages)
            judged = game.d.net(fake, batch.cond)
        except ValueError as error:
            if samples > 1 or "more than 1 value" not in str(error):  # the words of torch's batch norm
                raise
            why = "batch norm needs more than 1 sample at a time; set a larger batch or a smaller accumulate"
            raise UserError(why) from None
    del fake, judged  # kept until here, so that no two saved tensors had the same address
    return sum(saved.values())

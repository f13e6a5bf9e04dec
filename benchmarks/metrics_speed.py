"""How long metrics of features of 2,048 dimensions take, compared with common implementations.

    python benchmarks/metrics_speed.py [--images 50000] [--rounds 3]

FID: compared with the textbook formula and scipy's `sqrtm`, from the same moments; agreement as a relative error. KID:
compared with torchmetrics, 10,000 images in each set, its 100 subsets of 1,000. Precision, recall, density and coverage
of `--images` in each set: no comparison, since the usual packages would need the whole matrix; the peak memory is that
of the process. Ratios are of the fastest of `--rounds`, taken in turn. Features are random, and differ between the two
sets. Writes benchmarks/results/metrics_speed.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
import torchmetrics
from scipy.linalg import sqrtm
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from mulligan.metrics.distances import (
    Moments,
    frechet_from_moments,
    kernel_distance,
    moments,
    precision_recall_density_coverage,
)

RESULTS = Path(__file__).parent / "results" / "metrics_speed.json"
DIMENSIONS, FOR_KID = 2048, 10_000


def features(count: int, seed: int, shift: float) -> Tensor:
    """(count, 2048) float32, correlated and not negative, as those of the Inception net are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(256, DIMENSIONS, generator=torch.Generator().manual_seed(0)) / 16
    blocks = [torch.randn(min(5_000, count - i), 256, generator=generator) for i in range(0, count, 5_000)]
    found = torch.cat([block @ mix for block in blocks]).add_(shift)
    for block in found.split(5_000):
        block += 0.3 * torch.randn(block.shape, generator=generator)
        block.clamp_(min=0)
    return found


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = function()
    return time.perf_counter() - began, value


def by_sqrtm(real: Moments, fake: Moments) -> float:
    """The formula as most repositories have it."""
    (mean, cov, _), (other, its, _) = ((a.numpy(), b.numpy(), n) for a, b, n in (real, fake))
    root = sqrtm(cov @ its)
    return float(((mean - other) ** 2).sum() + np.trace(cov) + np.trace(its) - 2 * np.trace(np.real(root)))


def compared(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    values = {}
    for _ in range(rounds):
        for name, function in (("ours", ours), ("theirs", theirs)):
            took, values[name] = seconds(function)
            times[name].append(round(took, 3))
    return {"seconds": times, "ratio": round(min(times["theirs"]) / min(times["ours"]), 2), "values": values}


def balls(real: Tensor, fake: Tensor, rounds: int) -> dict[str, Any]:
    took, shares = seconds(lambda: precision_recall_density_coverage(real, fake, k=5))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"images": len(real), "seconds": round(took, 1), "peak_gigabytes": round(peak / 1e9, 2), "values": shares}


def fid(real: Tensor, fake: Tensor, rounds: int) -> dict[str, Any]:
    pair = moments(real), moments(fake)
    found = compared(lambda: frechet_from_moments(*pair), lambda: by_sqrtm(*pair), rounds)
    return found | {"relative_error": abs(found["values"]["ours"] / found["values"]["theirs"] - 1)}


def kid(real: Tensor, fake: Tensor, rounds: int) -> dict[str, Any]:
    x, y = real[:FOR_KID].clone(), fake[:FOR_KID].clone()
    peer = KernelInceptionDistance(torch.nn.Identity(), subsets=100, subset_size=1_000, compute_with_cache=False)
    peer.real_features, peer.fake_features = [x], [y]
    return compared(lambda: kernel_distance(x, y), lambda: [float(each) for each in peer.compute()], rounds)


PARTS = {"balls": balls, "fid": fid, "kid": kid}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = arguments.parse_args()
    found: dict[str, Any] = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {
        "threads": torch.get_num_threads(),
        "scipy": scipy.__version__,
        "torchmetrics": torchmetrics.__version__,
    }

    real, fake = features(options.images, 1, 0.0), features(options.images, 2, 0.05)
    for part in options.only:
        found[part] = PARTS[part](real, fake, options.rounds)
        print(json.dumps(found[part]), flush=True)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

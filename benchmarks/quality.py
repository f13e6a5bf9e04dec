"""What five minutes of `mulligan train digits` give, judged by a classifier that Mulligan does not have.

    python benchmarks/quality.py --mnist DIR [--minutes 5] [--seeds 0 1 2]

DIR holds MNIST's training set as IDX files. The judge is a small convolutional network trained on 45,000 of its images;
the reference is 5,000 others, none of which is among the 5,000 digits that Mulligan ships; another 5,000 show what real
images score. Samples: 5,000, seed 1, best checkpoint. Writes benchmarks/results/quality-5min.json and a grid a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.data import open_data
from mulligan.metrics.distances import measure

RESULTS = Path(__file__).parent / "results"
COUNT = 5_000


class Judge(nn.Module):
    """A classifier of digits; its 128 penultimate activations are the features."""

    def __init__(self) -> None:
        super().__init__()

        def conv(a: int, b: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]

        pool = nn.MaxPool2d(2)
        self.trunk = nn.Sequential(*conv(1, 32), *conv(32, 32), pool, *conv(32, 64), *conv(64, 64), pool, nn.Flatten())
        self.dense, self.head = nn.Linear(64 * 49, 128), nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        return F.relu(self.dense(self.trunk(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(images), 0.3, self.training))


def train_judge(images: Tensor, labels: Tensor, epochs: int = 3, batch: int = 128) -> Judge:
    torch.manual_seed(0)
    judge = Judge().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), fused=True)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            shift = tuple(torch.randint(-2, 3, (2,)).tolist())
            loss = F.cross_entropy(judge(torch.roll(to_float(images[some]), shift, (2, 3))), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge.eval()


@torch.inference_mode()
def judged(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and class of every image."""
    features = torch.cat([judge.features(to_float(some)) for some in images.split(500)])
    return features, judge.head(features).argmax(1)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mnist", required=True)
    arguments.add_argument("--minutes", type=float, default=5)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--judge", type=Path, default=Path(tempfile.gettempdir()) / "mulligan-judge.pt")
    options = arguments.parse_args()

    digits, mnist = open_data("digits"), open_data(options.mnist)
    shipped = {image.numpy().tobytes() for image in digits.images(np.arange(digits.count))}
    everything = mnist.images(np.arange(mnist.count))
    labels = mnist.label_of(np.arange(mnist.count))
    fresh = np.array([i for i, image in enumerate(everything) if image.numpy().tobytes() not in shipped])
    np.random.default_rng(0).shuffle(fresh)
    reference, others = everything[fresh[:COUNT]], everything[fresh[COUNT : 2 * COUNT]]
    learn = np.setdiff1d(np.arange(mnist.count), fresh[: 2 * COUNT + 5_000])
    if options.judge.exists():
        judge = Judge().eval()
        judge.load_state_dict(torch.load(options.judge, weights_only=True))
    else:
        judge = train_judge(everything[learn], labels[learn])
        torch.save(judge.state_dict(), options.judge)
    real, classes = judged(judge, reference)
    accuracy = (classes == labels[fresh[:COUNT]]).float().mean().item()
    found = {
        "protocol": f"{COUNT} samples against {COUNT} images of MNIST that are not shipped; k=5",
        "judge_accuracy": round(accuracy, 4),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "real": rounded(measure(real, judged(judge, others)[0])),
        "shipped digits": rounded(measure(real, judged(judge, digits.images(np.arange(digits.count)))[0])),
    }
    print(json.dumps(found, indent=2), flush=True)
    RESULTS.mkdir(exist_ok=True)
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = f"{folder}/run"
            mulligan = [sys.executable, "-m", "mulligan"]
            order = ["train", "digits", "--minutes", str(options.minutes), "--seed", str(seed), "--out", run, "--json"]
            summary = json.loads(subprocess.run([*mulligan, *order], check=True, stdout=subprocess.PIPE).stdout)
            for out in (f"{folder}/samples.npz", RESULTS / f"quality-seed{seed}.png"):
                count = str(COUNT if str(out).endswith("npz") else 100)
                subprocess.run([*mulligan, "sample", run, "-n", count, "--seed", "1", "--out", str(out)], check=True)
            samples = torch.from_numpy(np.load(f"{folder}/samples.npz")["images"]).permute(0, 3, 1, 2)
        features, classes = judged(judge, samples)
        shares = torch.bincount(classes, minlength=10) / COUNT
        found[f"seed {seed}"] = {
            **rounded(measure(real, features)),
            "least_class_share": round(shares.min().item(), 4),
            **{key: summary[key] for key in ("images_seen", "seconds", "images_per_second", "peak_memory_bytes")},
            "own_metrics": rounded(summary["metrics"]),
        }
        print(json.dumps(found[f"seed {seed}"], indent=2), flush=True)
        name = f"quality-{options.minutes:g}min.json"
        (RESULTS / name).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

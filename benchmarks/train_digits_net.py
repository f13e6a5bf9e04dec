"""Train the `digits` feature net and write it to mulligan/metrics/weights/ with its held-out accuracy.

    python benchmarks/train_digits_net.py [--out FILE] [--seed 0] [--epochs 40]

It is trained on 4,500 of the 5,000 shipped digits: of each class all but the last 50, on which its accuracy is measured
once, at the end. Takes about 4 minutes on one core. The same seed gives the same bits on the same machine.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from mulligan.core.batch import to_float
from mulligan.data.digits import FILE
from mulligan.metrics.features.digits import WEIGHTS, DigitsNet
from mulligan.metrics.features.net import freeze

HELD_OUT_PER_CLASS = 50
BATCH = 100


def split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (4500, 1, 28, 28) in [-1, 1] and labels, held-out images (500, ...) and labels."""
    with np.load(FILE) as held:
        pixels, labels = held["images"], held["labels"]
    held_out = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[-HELD_OUT_PER_CLASS:]] = True
    images = to_float(torch.from_numpy(pixels)[:, None])
    classes = torch.from_numpy(labels.astype(np.int64))
    return images[~held_out], classes[~held_out], images[held_out], classes[held_out]


def augment(images: Tensor) -> Tensor:
    """Each image rotated, scaled, sheared, shifted and bent slightly, in one resampling. Outside the image is black."""
    reach = torch.tensor([math.radians(12), 0.15, 0.12, 0.12, 4 / 28, 4 / 28])  # shifts by 2 pixels: the grid is 2 wide
    angle, shear, wide, high, right, down = (reach[:, None] * (torch.rand(6, len(images)) * 2 - 1)).unbind()
    rows = [angle.cos() * (1 + wide), shear - angle.sin(), right, angle.sin(), angle.cos() * (1 + high), down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    # Elastic distortion (Simard 2003): a smooth field of displacements of about a pixel, from a coarse one.
    coarse = torch.randn(len(images), 2, 6, 6) * 0.06
    bend = F.interpolate(coarse, size=images.shape[2:], mode="bicubic", align_corners=False)
    return F.grid_sample(images + 1, grid + bend.permute(0, 2, 3, 1), align_corners=False) - 1


def train(images: Tensor, labels: Tensor, *, seed: int, epochs: int) -> DigitsNet:
    torch.manual_seed(seed)
    net = DigitsNet()
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    steps = epochs * len(images) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        if step % (len(images) // BATCH) == 0:
            order = torch.randperm(len(images)).view(-1, BATCH)
        chosen = order[step % len(order)]
        loss = F.cross_entropy(net.head(F.dropout(net(augment(images[chosen])), 0.3)), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        if (step + 1) % (10 * len(order)) == 0:
            print(f"epoch {(step + 1) // len(order)}: loss {loss.item():.4f}", flush=True)
    net = average.module
    freeze(net)
    # Features of mean square 1 and unchanged logits: the kernel of KID needs numbers of this size.
    scale = torch.cat([net(block) for block in images.split(500)]).square().mean().sqrt()
    net.trunk[-1].weight /= scale
    net.trunk[-1].bias /= scale
    net.head.weight *= scale
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)  # the order of sums, so the bits, would depend on it
    images, labels, held_out_images, held_out_labels = split()
    net = train(images, labels, seed=args.seed, epochs=args.epochs)
    accuracy = (net.classify(held_out_images) == held_out_labels).double().mean().item()
    facts = {
        "held_out_accuracy": f"{accuracy:.1%}",
        "held_out_images": len(held_out_labels),
        "trained_on": f"{len(labels)} of the shipped digits",
        "script": "benchmarks/train_digits_net.py",
        "seed": args.seed,
        "epochs": args.epochs,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # One entry, since safetensors writes several in random order.
    save_file(net.state_dict(), args.out, metadata={"facts": json.dumps(facts)})
    size = args.out.stat().st_size
    print(f"{args.out}: {size:,} bytes, {accuracy:.1%} of {len(held_out_labels)} held-out digits right")


if __name__ == "__main__":
    main()

"""The `inception` feature net: InceptionV3 as the Fréchet Inception Distance was defined with, in plain torch.

The architecture is Szegedy 2015 (arXiv 1512.00567) as released by TensorFlow on 2015-12-05 with 1,008 outputs. Modules
are named as in the widely used conversion of its weights, `pt_inception-2015-12-05`. It differs from torchvision's:
average pools do not count the padding, and the last block uses a maximum pool.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.metrics.features.net import FeatureNet, freeze, stamp_of
from mulligan.metrics.features.pixels import Filter, resize, to_rgb

PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WEIGHTS_VARIABLE = "MULLIGAN_INCEPTION_WEIGHTS"
COUNTER = ".num_batches_tracked"  # of batch norm, not used here; some conversions do not have it
SIDE = 299
Size = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class InceptionA(nn.Module):
    """35 x 35: 1x1, 5x5, double 3x3 and pool branches (figure 5 of the paper, with a 5x5)."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1 = Conv(inputs, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], 1)


class InceptionB(nn.Module):
    """35 x 35 -> 17 x 17 (figure 10)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """17 x 17: 7x7 as 1x7 and 7x1, once and twice (figure 6)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1 = Conv(inputs, width, 1)
        self.branch7x7_2 = Conv(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = Conv(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = Conv(inputs, width, 1)
        self.branch7x7dbl_2 = Conv(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = Conv(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = Conv(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = Conv(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class InceptionD(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(inputs, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(inputs, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """8 x 8: branches that split again (figure 7); `max_pool` is for the last block of the FID's net."""

    def __init__(self, inputs: int, *, max_pool: bool) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(inputs, 192, 1)
        self.max_pool = max_pool

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.max_pool else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class InceptionV3(nn.Module):
    """(B, 3, 299, 299), scaled as (pixel - 128) / 128, -> (B, 2048) pooled features, the input of `fc`."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = InceptionA(192, pool=32)
        self.Mixed_5c = InceptionA(256, pool=64)
        self.Mixed_5d = InceptionA(288, pool=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, width=128)
        self.Mixed_6c = InceptionC(768, width=160)
        self.Mixed_6d = InceptionC(768, width=160)
        self.Mixed_6e = InceptionC(768, width=192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, max_pool=False)
        self.Mixed_7c = InceptionE(2048, max_pool=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1].mean((2, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = F.max_pool2d(x, 3, stride=2)
        x = first = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = F.max_pool2d(x, 3, stride=2)
        x = second = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = third = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return [first, second, third, x]


class FidInception(FeatureNet):
    """InceptionV3 with the preprocessing of the FID."""

    costly = has_maps = True
    dim = 2048
    block = 16

    def __init__(self, net: InceptionV3, filter: Filter, source: str) -> None:
        super().__init__()
        self.net, self.filter = net, filter
        freeze(self)
        self.stamp = stamp_of(net)
        self.describe = f"inception: the FID's InceptionV3, {source}"
        self.resizing = f"RGB, {SIDE}x{SIDE} {filter}"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 | 3 | 4, H, W) float in [-1, 1] -> (B, 2048)."""
        return self.net(self._preprocess(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 1 | 3 | 4, H, W) -> (B, 192, 71, 71), (B, 288, 35, 35), (B, 768, 17, 17), (B, 2048, 8, 8)."""
        return self.net.maps(self._preprocess(images))

    def _preprocess(self, images: Tensor) -> Tensor:
        pixels = (resize(to_rgb(images), SIDE, self.filter) + 1) * 127.5
        # On CPUs convolutions are 1.4 times as fast with channels last.
        return ((pixels - 128) / 128).contiguous(memory_format=torch.channels_last)


@features.register(kinds={"image"}, gives={"maps"})
def inception(
    *,
    weights: Path | None = None,  # .pth or .safetensors; if None, MULLIGAN_INCEPTION_WEIGHTS, else the cache folder
    resize: Filter = "antialias",  # filter to 299 x 299; "legacy" or "tf1" as in older papers
) -> FidInception:
    """The network of the Fréchet Inception Distance, for photographs. Its weights (96 MB) do not come with Mulligan."""
    path = _find(weights)
    with torch.device("meta"):  # no initialisation, as a file replaces the weights
        net = InceptionV3()
    tensors = _read(path)
    expected = {name: tensor.shape for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if different := sorted({name for name, _ in expected.items() ^ found.items()}):
        raise UserError(
            f"{path}: not the FID's InceptionV3: {len(different)} names or shapes differ, such as {different[0]}"
        )
    net.load_state_dict(tensors, assign=True)
    return FidInception(net, resize, _source(path))


def _find(weights: Path | None) -> Path:
    from platformdirs import user_cache_dir

    if named := weights or os.environ.get(WEIGHTS_VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise UserError(f"{path}: no such file; it should hold the weights of feature net 'inception'")
        return path
    cached = Path(user_cache_dir("mulligan"), PUBLISHED)
    for path in (cached, cached.with_suffix(".safetensors")):
        if path.is_file():
            return path
    raise UserError(
        f"feature net 'inception' needs its published weights: put {PUBLISHED} into {cached.parent}, "
        f"or name a file with its option weights=PATH or the variable {WEIGHTS_VARIABLE}"
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. No code in it is run: torch.load accepts plain tensors only."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(COUNTER)}
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        why = str(error).splitlines()[0] if str(error) else "it is empty or cut off"
        raise UserError(f"{path}: not a file of weights: {why}") from None


def _source(path: Path) -> str:
    """Whether these are the published weights. Raises UserError if the published file is damaged."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest == PUBLISHED_SHA256:
        return "published weights of 2015-12-05"
    if path.name == PUBLISHED:
        raise UserError(f"{path}: damaged: its sha256 is {digest}, the published file's {PUBLISHED_SHA256}")
    return f"weights {path.name}, sha256 {digest[:12]}, not the published ones"

"""Convolutions that choose their algorithm on a CPU.

Many channels on a small grid cost less in the frequency domain, where a convolution is one product per frequency. With
a DFT a little larger than the grid nothing wraps around, and a complex product is done by three real ones. So the whole
becomes `A^T ((G k) (B x))` with constant matrices, the form of Lavin, Gray 2015 (arXiv 1509.09308), with an exact DFT
in place of Winograd's tiles. A 5x5 kernel on 7x7 then needs 121 products per pair of channels instead of 1,225. All
steps are matrix products: differentiable at any order.

Legend: B batch, C input channels, O output channels, h w the grid, k kernel, R products per pair of channels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = 3.0  # factor of fewer multiply-adds from which on it is faster: matrix products are slower than convolutions
USUAL = 64  # batch size that the choice assumes
FEW = 4  # channels, as of an image
LARGEST = 16  # side of a grid: the transforms' cost grows with the square of its area


class Frequencies(NamedTuple):
    """The constant matrices of one geometry, float32."""

    image: Tensor  # B: (R, h w)
    kernel: Tensor  # G: (R, k k)
    back: Tensor  # A^T: (h w, R)


def _dft(length: int, positions: np.ndarray) -> np.ndarray:
    return np.exp(-2j * np.pi / length * np.outer(np.arange(length), positions))


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # cached, and later used where gradients are needed
def frequencies(grid: tuple[int, int], kernel: int) -> Frequencies:
    """The matrices of a transposed convolution of stride 1 whose output has the size of its input."""
    half = kernel // 2
    (n, m) = (side + half for side in grid)  # so long that whatever wraps around falls outside the grid
    image = np.kron(_dft(n, np.arange(grid[0])), _dft(m, np.arange(grid[1])))
    taps = np.kron(_dft(n, np.arange(kernel) - half), _dft(m, np.arange(kernel) - half))
    back = image.conj() / (n * m)
    u, v = np.divmod(np.arange(n * m), m)
    mirror = -u % n * m + -v % m  # index of the complex conjugate
    real, pair = np.flatnonzero(mirror == np.arange(n * m)), np.flatnonzero(mirror > np.arange(n * m))
    x, k, y = image[pair], taps[pair], 2 * back[pair]
    # (xr + i xi)(kr + i ki) = p - r + i (p + q), with p = kr (xr + xi), q = xr (ki - kr), r = xi (kr + ki)
    matrices = (
        np.concatenate([image[real].real, x.real + x.imag, x.real, x.imag]),
        np.concatenate([taps[real].real, k.real, k.imag - k.real, k.real + k.imag]),
        np.concatenate([back[real].real, y.real - y.imag, -y.imag, -y.real]).T.copy(),
    )
    return Frequencies(*(torch.from_numpy(matrix).float() for matrix in matrices))


def pays(grid: tuple[int, int], kernel: int, inputs: int, outputs: int) -> bool:
    """Whether the frequency domain needs so many fewer multiply-adds that it is faster, at a usual batch size.

    Not at the actual batch size: then the bits of an image would depend on how many are generated with it.
    """
    area, half = grid[0] * grid[1], kernel // 2
    products = 1.5 * (grid[0] + half) * (grid[1] + half)
    pairs = inputs * outputs
    transforms = area * (inputs + outputs) + kernel**2 * pairs / USUAL
    return max(grid) <= LARGEST and GAIN * products * (pairs + transforms) < area * kernel**2 * pairs


def by_frequency(x: Tensor, weight: Tensor) -> Tensor:
    """`conv_transpose2d` of x (B, C, h, w) with weight (C, O, k, k), k odd, stride 1, padding k // 2: (B, O, h, w)."""
    image, kernel, back = (matrix.to(x.device) for matrix in frequencies((x.shape[2], x.shape[3]), weight.shape[-1]))
    with torch.autocast(x.device.type, enabled=False):  # in float32 this is faster than a convolution in bfloat16
        taps = weight.float().permute(0, 2, 3, 1).flatten(1, 2)  # (C, k k, O)
        pixels = x.float().permute(0, 2, 3, 1).flatten(1, 2)  # (B, h w, C)
        products = (image @ pixels).transpose(0, 1) @ (kernel @ taps).transpose(0, 1)  # (R, B, O)
        y = back @ products.transpose(0, 1)  # (B, h w, O)
    return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2).to(x.dtype)


def phases_of(weight: Tensor, stride: int, padding: int) -> tuple[Tensor, int]:
    """A strided kernel (O, C, k, k) as one of stride 1 on `pixel_unshuffle(x, stride)`, (O, C s s, t, t); its padding.

    The zeros at its edge are extra work, but the one channel of a grey image, too few for vector units, becomes s s
    channels (Shi 2016, arXiv 1609.07009, shows the equivalence).
    """
    left = -padding % stride
    taps = -(-(weight.shape[-1] + left) // stride)
    right = taps * stride - weight.shape[-1] - left
    padded = F.pad(weight, (left, right, left, right)).unflatten(3, (taps, stride)).unflatten(2, (taps, stride))
    return padded.permute(0, 1, 3, 5, 2, 4).flatten(1, 3), (padding + left) // stride


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with square kernels; on a CPU, strided from few channels, computed by phases."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H', W')."""
        s = self.stride[0]
        if x.device.type == "cpu" and self.in_channels <= FEW and s > 1 and not (x.shape[2] % s or x.shape[3] % s):
            phases, padding = phases_of(self.weight, s, self.padding[0])
            if phases.shape[-1] == 2 * padding + 1:  # exactly `s` times coarser
                x = F.pixel_unshuffle(x, s).contiguous(memory_format=torch.channels_last)
                return F.conv2d(x, phases.contiguous(memory_format=torch.channels_last), self.bias, padding=padding)
        return super().forward(x)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with square kernels; on a CPU by frequency where faster, or by phases."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, O, h', w')."""
        s, padding, kernel = self.stride[0], self.padding[0], self.kernel_size[0]
        exact = kernel + self.output_padding[0] == s + 2 * padding  # exactly `s` times finer
        if x.device.type == "cpu" and exact and self.bias is None:
            grid = (x.shape[2], x.shape[3])
            if s == 1 and pays(grid, kernel, self.in_channels, self.out_channels):
                return by_frequency(x, self.weight)
            if s > 1 and self.out_channels <= FEW:
                phases, padding = phases_of(self.weight, s, padding)
                flipped = phases.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
                return F.pixel_shuffle(F.conv2d(x, flipped, padding=flipped.shape[-1] - 1 - padding), s)
        return super().forward(x)

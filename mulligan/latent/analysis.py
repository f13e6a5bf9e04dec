"""Directions in a latent space: from a generator's weights, from its samples, or from labels.

Legend: M points, N samples, D directions, L layers, S numbers of a style, n numbers of a point, O outputs of a layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.engine.sampling import CHUNK
from mulligan.latent.spaces import LatentBatch

MAX_NUMBERS = 4096  # of a point: a method without labels decomposes a matrix of this squared
JACOBIAN_ROWS = 256  # computed at once
RIDGE = 1e-2  # of the logistic regression, over the mean of the samples

Generate = Callable[[Tensor, Condition], Tensor]  # (latents, condition) -> images


@contextlib.contextmanager
def first_layers(G: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, collects the outputs (B, ...) of the layers with weights that a point reaches first.

    Such an output is detached from the graph. So a later layer depends on the point only if the point reaches it by
    another path, as a style reaches every layer; then it is a first layer too.
    """
    outputs: list[Tensor] = []

    def detach(layer: nn.Module, inputs: object, out: object) -> Tensor | None:
        if not isinstance(out, Tensor) or not out.requires_grad:
            return None
        outputs.append(out)
        return out.detach()

    weighted = [m for m in G.modules() if isinstance(getattr(m, "weight", None), Tensor) and m.weight.ndim > 1]
    hooks = [layer.register_forward_hook(detach) for layer in weighted]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def first_layer_gram(G: nn.Module, generate: Generate, at: LatentBatch) -> Tensor:
    """A^T A, where A is the Jacobian of the layers that a point reaches first: (L, n, n) for points (M, L, n).

    Where such a layer is linear, A is its weights. Where something comes before it (a norm, a class embedding that
    scales), A^T A is the mean over the points. Layers that take different rows of a point are not mixed.
    """
    latents = at.latents.detach().requires_grad_()
    refuse_too_many(latents[0, 0].numel())
    total = torch.zeros(latents.shape[1], latents.shape[2], latents.shape[2], dtype=torch.float64)
    with torch.enable_grad(), first_layers(G) as outputs:
        generate(latents, at.cond)
        for out in (each.flatten(1) for each in outputs):
            for start in range(0, out.shape[1], JACOBIAN_ROWS):
                one_hot = torch.eye(out.shape[1], device=out.device)[start : start + JACOBIAN_ROWS]  # (r, O)
                of_each = one_hot[:, None].expand(-1, len(out), -1)
                jacobian = torch.autograd.grad(out, latents, of_each, is_grads_batched=True, retain_graph=True)[0]
                rows = jacobian.cpu().double().permute(2, 0, 1, 3).flatten(1, 2)  # (L, r M, n)
                total += rows.transpose(1, 2) @ rows / len(out)
    if not outputs:
        raise UserError("no layer of this generator takes the noise directly, so there is none to factorise; try pca")
    return total


def sefa_directions(gram: Tensor, count: int) -> Tensor:
    """The directions that change those layers most: eigenvectors of A^T A (SeFa; Shen, Zhou 2021, 2007.06600, eq. 7).

    (n, n) -> (D, n), of length 1, the strongest first.
    """
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1).T[:count]
    return with_fixed_sign(vectors).float()


def pca_directions(features: Tensor, samples: LatentBatch, count: int) -> Tensor:
    """Along which samples vary most (GANSpace; Härkönen 2020, arXiv 2004.02546, sec. 2.1 and 2.2): (D, n), of length 1.

    Principal components are those of `features` (N, O): of w itself, or of the activations of the first layers. In the
    second case a direction is what in z predicts a component best, by least squares. Variation between classes does
    not count: each class is centred.
    """
    a, latents = (_centred(each.flatten(1).cpu().double(), samples.classes) for each in (features, samples.latents))
    refuse_too_many(latents.shape[1])
    if a.shape[1] <= len(a):
        coordinates = a @ torch.linalg.eigh(a.T @ a).eigenvectors.flip(1)[:, :count]
    else:  # fewer samples than features: the smaller of the two products has the same components
        coordinates = torch.linalg.eigh(a @ a.T).eigenvectors.flip(1)[:, :count]
    return with_fixed_sign(F.normalize(torch.linalg.lstsq(coordinates, latents).solution, dim=1)).float()


def _centred(x: Tensor, classes: Tensor | None) -> Tensor:
    """(N, n) minus the mean, that of its class where there are classes."""
    if classes is None:
        return x - x.mean(0)
    x, classes = x.clone(), classes.cpu()
    for each in classes.unique():
        x[classes == each] -= x[classes == each].mean(0)
    return x


def refuse_too_many(numbers: int) -> None:
    """Raises UserError for a space that is too large to find directions in."""
    if numbers > MAX_NUMBERS:
        raise UserError(
            f"a latent of this generator has {numbers:,} numbers; directions are found among up to {MAX_NUMBERS:,}"
        )


def with_fixed_sign(vectors: Tensor) -> Tensor:
    """(D, n), each with its largest number positive: otherwise the sign would depend on the machine."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)


@torch.no_grad()
def activations(G: nn.Module, generate: Generate, samples: LatentBatch) -> Tensor:
    """Outputs of the first layers for samples, (N, O)."""
    found = []
    for start in range(0, len(samples.latents), CHUNK):
        some = samples.take(slice(start, start + CHUNK))
        with torch.enable_grad(), first_layers(G) as outputs:
            generate(some.latents.detach().requires_grad_(), some.cond)
        found.append(torch.cat([each.detach().flatten(1) for each in outputs], 1))
    return torch.cat(found)


def class_directions(x: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, float]:
    """Directions from all other classes to each class, and the accuracy of the fit on held-out samples.

    Multinomial logistic regression with a ridge, from (N, n) to labels (N,) -> (classes, n), of length 1. The last
    quarter of the samples is held out. The normal of a linear boundary is the direction to edit along (InterFaceGAN;
    Shen 2020, arXiv 1907.10786, sec. 2.1).
    """
    train = -(-3 * len(x) // 4)
    x, labels = x.detach().cpu().double(), labels.cpu()  # not every device computes in float64
    weights = torch.zeros(x.shape[1] + 1, classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def logits(some: Tensor) -> Tensor:
        return some @ weights[:-1] + weights[-1]

    def loss() -> Tensor:
        solver.zero_grad()
        total = F.cross_entropy(logits(x[:train]), labels[:train]) + RIDGE * weights[:-1].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        solver.step(loss)
    accuracy = (logits(x[train:]).argmax(1) == labels[train:]).double().mean().item()
    normals = weights.detach()[:-1].T
    return F.normalize(normals - normals.mean(0), dim=1).float(), accuracy

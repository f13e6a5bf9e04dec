"""Directions in a latent space, found without labels or with some.

Legend: M points, N draws, D directions, L layers, S numbers of a style, n numbers of a place, O numbers of a layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.engine.sampling import CHUNK

MOST = 4096  # numbers of a place, whose square a method without labels has to take apart
ROWS = 256  # of a Jacobian at once
RIDGE = 1e-2  # of the logistic regression, over the mean of the draws

Pictures = Callable[[Tensor, Tensor | None], Tensor]


class Draws(NamedTuple):
    """Samples of a space, and their classes where G is told any."""

    places: Tensor  # (N, *shape)
    classes: Tensor | None  # (N,)


@contextlib.contextmanager
def first_layers(G: nn.Module) -> Iterator[list[Tensor]]:
    """Within, what layers with weights make of what they meet first of all of a place is listed, (B, ...) each.

    What such a layer says is cut off from the graph: so those behind it meet nothing of the place, unless it comes to
    them by another way, as a style does to every layer, and then they are first in their turn.
    """
    met: list[Tensor] = []

    def cut(layer: nn.Module, given: object, out: object) -> Tensor | None:
        if not isinstance(out, Tensor) or not out.requires_grad:
            return None
        met.append(out)
        return out.detach()

    weighty = [m for m in G.modules() if isinstance(getattr(m, "weight", None), Tensor) and m.weight.ndim > 1]
    hooks = [layer.register_forward_hook(cut) for layer in weighty]
    try:
        yield met
    finally:
        for hook in hooks:
            hook.remove()


def gram(G: nn.Module, pictures: Pictures, at: Draws) -> Tensor:
    """A^T A of the layers that a place meets first, A being their slope there: (L, n, n) of places (M, L, n).

    Where such a layer is linear, A is its weights; where something comes before (a norm, a class's embedding that
    scales), it is the mean over the points. Layers that different rows of a place go to are kept apart.
    """
    places = at.places.detach().requires_grad_()
    refuse_too_many(places[0, 0].numel())
    total = torch.zeros(places.shape[1], places.shape[2], places.shape[2], dtype=torch.float64)
    with torch.enable_grad(), first_layers(G) as met:
        pictures(places, at.classes)
        for out in (each.flatten(1) for each in met):
            for start in range(0, out.shape[1], ROWS):
                which = torch.eye(out.shape[1], device=out.device)[start : start + ROWS]  # (r, O)
                told = which[:, None].expand(-1, len(out), -1)
                slopes = torch.autograd.grad(out, places, told, is_grads_batched=True, retain_graph=True)[0]
                rows = slopes.cpu().double().permute(2, 0, 1, 3).flatten(1, 2)  # (L, r M, n)
                total += rows.transpose(1, 2) @ rows / len(out)
    if not met:
        raise UserError("this generator has no layer that its noise meets first, so none to factorise; try pca")
    return total


def factorised(grams: Tensor, count: int) -> Tensor:
    """The directions that move those layers most: eigenvectors of A^T A (SeFa; Shen, Zhou 2021, 2007.06600, eq. 7).

    (n, n) -> (D, n), of length 1, the strongest first.
    """
    vectors = torch.linalg.eigh(grams).eigenvectors.flip(1).T[:count]
    return one_way(vectors).float()


def principal(seen: Tensor, draws: Draws, count: int) -> Tensor:
    """Where samples differ most (GANSpace; Härkönen 2020, arXiv 2004.02546, sec. 2.1 and 2.2): (D, n), of length 1.

    `seen` (N, O) is what components are taken of: w itself, or a first layer's activations, and then directions are
    what in z best foretells the components. Classes are not among what differs: each is centred.
    """
    a, places = (_centred(each.flatten(1).cpu().double(), draws.classes) for each in (seen, draws.places))
    refuse_too_many(places.shape[1])
    if a.shape[1] <= len(a):
        coordinates = a @ torch.linalg.eigh(a.T @ a).eigenvectors.flip(1)[:, :count]
    else:  # fewer draws than numbers: the smaller of two squares has the same components
        coordinates = torch.linalg.eigh(a @ a.T).eigenvectors.flip(1)[:, :count]
    return one_way(F.normalize(torch.linalg.lstsq(coordinates, places).solution, dim=1)).float()


def _centred(x: Tensor, classes: Tensor | None) -> Tensor:
    """(N, n) less the mean, of each class where there are any."""
    if classes is None:
        return x - x.mean(0)
    x, classes = x.clone(), classes.cpu()
    for each in classes.unique():
        x[classes == each] -= x[classes == each].mean(0)
    return x


def refuse_too_many(numbers: int) -> None:
    if numbers > MOST:
        raise UserError(f"a place of this generator has {numbers:,} numbers; directions are found among up to {MOST:,}")


def one_way(vectors: Tensor) -> Tensor:
    """(D, n), each turned so that its largest number is positive: else the sign would be the machine's choice."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)


@torch.no_grad()
def activations(G: nn.Module, pictures: Pictures, draws: Draws) -> Tensor:
    """What the first layers make of draws, (N, O)."""
    found = []
    for start in range(0, len(draws.places), CHUNK):
        some = slice(start, start + CHUNK)
        with torch.enable_grad(), first_layers(G) as met:
            places = draws.places[some].detach().requires_grad_()
            pictures(places, None if draws.classes is None else draws.classes[some])
        found.append(torch.cat([each.detach().flatten(1) for each in met], 1))
    return torch.cat(found)


def towards(x: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, float]:
    """Directions from everything else to each class, and how often they tell the class of draws they have not seen.

    Multinomial logistic regression with a ridge, from (N, n) to labels (N,) -> (classes, n), of length 1. The last
    quarter of the draws is held out. A linear boundary's normal is the way to edit by (InterFaceGAN; Shen 2020,
    arXiv 1907.10786, sec. 2.1).
    """
    known = -(-3 * len(x) // 4)
    x, labels = x.detach().cpu().double(), labels.cpu()  # not every device computes in it
    weights = torch.zeros(x.shape[1] + 1, classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def logits(some: Tensor) -> Tensor:
        return some @ weights[:-1] + weights[-1]

    def loss() -> Tensor:
        solver.zero_grad()
        total = F.cross_entropy(logits(x[:known]), labels[:known]) + RIDGE * weights[:-1].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        solver.step(loss)
    right = (logits(x[known:]).argmax(1) == labels[known:]).double().mean().item()
    normals = weights.detach()[:-1].T
    return F.normalize(normals - normals.mean(0), dim=1).float(), right

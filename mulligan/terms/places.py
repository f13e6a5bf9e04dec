"""`patch-nce`: a place of the picture that G made is to be told from other places by what was shown there.

Legend: B batch, C channels, H W image size, P places, E numbers that a place is told by.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.terms.ways import at_home


def contrast(made: Tensor, shown: Tensor, temperature: float) -> Tensor:
    """(B, P, E) both, of length 1 -> (B, P): cross-entropy of each place made with its own among all shown."""
    alike = made.float() @ shown.float().transpose(1, 2) / temperature  # (B, P, P)
    return alike.logsumexp(2) - alike.diagonal(dim1=1, dim2=2)


def places_apart(
    step: Step,
    made: Tensor,
    shown: Tensor,
    places: int,
    temperature: float,
    same_kind: bool = False,
    mirrored: bool = False,
) -> Tensor:
    """(B,), the mean over the layers that G's heads look at and over places, the same ones for both.

    `same_kind`: what is shown is of the kind that G makes, so the heads for such look at both. `mirrored`: the heads
    look at what is shown from behind, and a place of what was made is held against its mirror image there.
    """
    heads = getattr(step.G, "heads", None)
    if not heads:
        raise UserError(
            "the patch-nce terms need a generator with heads that goes one way; set generator=translator (or unet), "
            "generator.heads=256 and task.ways=1"
        )
    of_made = step.G.heads_of_made or heads
    with torch.no_grad():
        wanted = step.G.encoded(step.z, shown.flip(-1) if mirrored else shown)
    found = []
    layers = zip(of_made, of_made if same_kind else heads, step.G.encoded(step.z, made), wanted, strict=True)
    for our_head, their_head, ours, theirs in layers:
        ours = ours.flip(-1) if mirrored else ours
        chosen = torch.randperm(ours[0, 0].numel(), device=ours.device)[:places]
        ours = our_head(ours.flatten(2)[:, :, chosen].transpose(1, 2))
        theirs = their_head(theirs.flatten(2)[:, :, chosen].transpose(1, 2))
        theirs = theirs.detach() if their_head is our_head else theirs  # a shared head learns by what is made alone
        found.append(contrast(ours, theirs, temperature).mean(1))
    return torch.stack(found).mean(0)


@terms.register("patch-nce")
def patch_nce(
    *,
    places: int = 256,  # of a picture, in each layer
    temperature: float = 0.07,
    mirror: float = 0.0,  # how often the input is mirrored against what was made of it, so that G is alike both ways
) -> Penalty:
    """Cross-entropy of which place of the input each place of the output shows (Park 2020, arXiv 2007.15651, eq. 3).

    Other places of the same input are the wrong answers; what is known of the input is held still, as in the authors'
    code, and it is a mean over layers where the paper has a sum. Raises UserError for a G without heads.
    """
    if not 0 <= mirror <= 1:
        raise UserError(f"patch-nce: mirror={mirror:g} is how often, from 0 to 1")

    def fn(step: Step) -> Tensor:
        assert step.cond is not None
        mirrored = mirror > 0 and torch.rand(()).item() < mirror
        return places_apart(step, step.fake, step.cond, places, temperature, mirrored=mirrored)

    return Penalty("g", fn)


@terms.register("identity-nce")
def identity_nce(
    *,
    places: int = 256,  # of a picture, in each layer
    temperature: float = 0.07,
) -> Penalty:
    """The same of images that are of the side G goes to already (Park 2020, arXiv 2007.15651, eq. 5).

    So G changes nothing that need not change. Raises UserError for a G without heads.
    """
    return Penalty("g", lambda step: places_apart(step, at_home(step), step.real, places, temperature, same_kind=True))

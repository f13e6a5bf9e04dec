"""`patch-nce`, `identity-nce`: a patch of the generated image is to be recognised by the patch of the input there.

Legend: B batch, C channels, H W image size, P patches, E numbers of a patch's embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.terms.translation import translated_reals


def contrast(made: Tensor, given: Tensor, temperature: float) -> Tensor:
    """(B, P, E) both, of length 1 -> (B, P): cross-entropy of each generated patch with its own among all given."""
    cosines = made.float() @ given.float().transpose(1, 2) / temperature  # (B, P, P)
    return cosines.logsumexp(2) - cosines.diagonal(dim1=1, dim2=2)


def patch_contrast(
    step: Step,
    made: Tensor,
    given: Tensor,
    patches: int,
    temperature: float,
    same_side: bool = False,
    mirrored: bool = False,
) -> Tensor:
    """(B,), the mean over the layers that G's heads embed and over patches, which are the same ones for both images.

    `same_side`: the given image is of the side that G makes, so the heads for generated images embed both. `mirrored`:
    the given image is mirrored, and a patch of the generated image is compared with its mirror image there.
    """
    if not step.G.has_heads:
        raise UserError(
            "the patch-nce terms need a generator with heads and of one direction; set generator=translator (or unet), "
            "generator.heads=256 and task.directions=1"
        )
    of_made = step.G.heads_of_made or step.G.heads
    of_given = of_made if same_side else step.G.heads
    with torch.no_grad():
        targets = step.G.encoded(step.z, step.cond.changed(image=given.flip(-1) if mirrored else given))
    losses = []
    layers = zip(of_made, of_given, step.G.encoded(step.z, step.cond.changed(image=made)), targets, strict=True)
    for our_head, their_head, ours, theirs in layers:
        ours = ours.flip(-1) if mirrored else ours
        chosen = torch.randperm(ours[0, 0].numel(), device=ours.device)[:patches]
        ours = our_head(ours.flatten(2)[:, :, chosen].transpose(1, 2))
        theirs = their_head(theirs.flatten(2)[:, :, chosen].transpose(1, 2))
        theirs = theirs.detach() if their_head is our_head else theirs  # a shared head learns from generated ones only
        losses.append(contrast(ours, theirs, temperature).mean(1))
    return torch.stack(losses).mean(0)


@terms.register("patch-nce", kinds={"image"})
def patch_nce(
    *,
    patches: int = 256,  # of an image, in each layer
    temperature: float = 0.07,  # of the softmax over cosines
    mirror: float = 0.0,  # chance that input and output are mirrored against each other (FastCUT); 0 to 1
) -> Penalty:
    """Cross-entropy of which patch of the input belongs to each patch of the output (Park 2020, 2007.15651, eq. 3).

    Other patches of the same input are the wrong answers. Features of the input get no gradient, as in the authors'
    code. It is a mean over layers where the paper has a sum. Raises UserError for a G without heads.
    """
    if not 0 <= mirror <= 1:
        raise UserError(f"patch-nce: mirror={mirror:g} must be a chance from 0 to 1")

    def fn(step: Step) -> Tensor:
        mirrored = mirror > 0 and torch.rand(()).item() < mirror
        return patch_contrast(step, step.fake, step.cond["image"], patches, temperature, mirrored=mirrored)

    return Penalty("g", fn)


@terms.register("identity-nce", kinds={"image"})
def identity_nce(
    *,
    patches: int = 256,  # of an image, in each layer
    temperature: float = 0.07,  # of the softmax over cosines
) -> Penalty:
    """The same of images that are of the side G translates to already (Park 2020, arXiv 2007.15651, eq. 5).

    So G changes nothing that need not change. Raises UserError for a G without heads.
    """

    def fn(step: Step) -> Tensor:
        return patch_contrast(step, translated_reals(step), step.real, patches, temperature, same_side=True)

    return Penalty("g", fn)

"""The class terms of MHGAN, ContraGAN and ReACGAN against loops, and the head that embeds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import terms
from mulligan.core.step import Step
from mulligan.kinds.image import ImageSample
from mulligan.models.resnet import ResNetDiscriminator
from mulligan.nn.head import Head
from mulligan.runs.parts import load_parts

load_parts()
IDS = torch.tensor([0, 1, 1, 2, 0])
COND = Condition({"class": IDS})


class Fixed(Discriminator):
    """Returns one judgement of reals, which are all above zero, and another of fakes."""

    def __init__(self, real: Judgement, fake: Judgement) -> None:
        super().__init__()
        self.real, self.fake = real, fake

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return self.real if x.min() > 0 else self.fake


def step(side: str, real: Judgement, fake: Judgement, cond: Condition = COND) -> Step:
    images = torch.ones(5, 1, 2, 2)
    return Step(side, Generator(), Fixed(real, fake), torch.zeros(5, 1), cond, images, -images)


def judged(**more: Tensor) -> Judgement:
    return Judgement([torch.zeros(5)], [])._replace(**more)


def classes(seed: int) -> Judgement:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    return judged(classes=scores + 2 * nn.functional.one_hot(IDS, 4))


def embedded(seed: int) -> Judgement:
    generator = torch.Generator().manual_seed(seed)
    samples, table = torch.randn(5, 3, generator=generator), torch.randn(3, 3, generator=generator)
    return judged(embeddings=nn.functional.normalize(torch.stack([samples, table[IDS]], 1), dim=2))


def hinge_by_hand(scores: Tensor) -> list[float]:
    """Crammer and Singer's, sample by sample."""
    found = []
    for row, own in zip(scores.tolist(), IDS.tolist(), strict=True):
        others = [score for k, score in enumerate(row) if k != own]
        found.append(max(0.0, 1 - row[own] + max(others)))
    return found


def test_multi_hinge() -> None:
    real, fake = classes(0), classes(1)
    on_real, on_fake = (torch.tensor(hinge_by_hand(each.classes)) for each in (real, fake))
    assert {True, False} == set((torch.cat([on_real, on_fake]) == 0).tolist()), "a case of each kind"
    rule = terms["multi-hinge"](fakes=0.25)
    torch.testing.assert_close(rule.fn(step("d", real, fake)), on_real + on_fake)
    torch.testing.assert_close(rule.fn(step("g", real, fake)), 0.25 * on_fake)


def contrastive_by_hand(pair: Tensor, t: float) -> list[float]:
    samples, proxies = pair.unbind(1)
    found = []
    for i in range(5):
        own = math.exp(float(samples[i] @ proxies[i]) / t)
        above = below = own
        for k in range(5):
            if k != i:
                similarity = math.exp(float(samples[i] @ samples[k]) / t)
                above += similarity if IDS[k] == IDS[i] else 0.0
                below += similarity
        found.append(-math.log(above / below))
    return found


def data_to_data_by_hand(pair: Tensor, near: float, far: float, t: float) -> list[float]:
    samples, proxies = pair.unbind(1)
    found = []
    for i in range(5):
        above = math.exp(min(float(samples[i] @ proxies[i]) - near, 0.0) / t)
        rest = [float(samples[i] @ samples[j]) for j in range(5) if IDS[j] != IDS[i]]
        found.append(-math.log(above / (above + sum(math.exp(max(cosine - far, 0.0) / t) for cosine in rest))))
    return found


@pytest.mark.parametrize(("side", "samples"), [("d", "real"), ("g", "fake")])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_contrastive_terms(side: str, samples: str, temperature: float) -> None:
    judgements = {"real": embedded(0), "fake": embedded(1)}
    pair = judgements[samples].embeddings
    expected = {
        "contrastive": contrastive_by_hand(pair, temperature),
        "data-to-data": data_to_data_by_hand(pair, 0.6, 0.1, temperature),
    }
    for name, options in (("contrastive", {}), ("data-to-data", {"near": 0.6, "far": 0.1})):
        found = terms[name](temperature=temperature, **options).fn(step(side, **judgements))
        torch.testing.assert_close(found, torch.tensor(expected[name]), rtol=1e-5, atol=1e-6)


def test_samples_inside_both_margins_have_no_gradient() -> None:
    """As a proposition in the ReACGAN paper states of D2D-CE."""
    axes = torch.eye(3)
    pair = torch.stack([axes[IDS], axes[IDS]], 1).requires_grad_()
    easy = judged(embeddings=pair)
    terms["data-to-data"](near=0.9, far=0.1).fn(step("d", easy, easy)).sum().backward()
    assert pair.grad is not None and pair.grad.abs().max() == 0


@pytest.mark.parametrize("name", ["multi-hinge", "contrastive", "data-to-data"])
@pytest.mark.parametrize("cond", [Condition(), COND], ids=["no classes", "no head for them"])
def test_a_d_without_a_head_for_classes_is_refused(name: str, cond: Condition) -> None:
    plain = judged()
    with pytest.raises(UserError, match="class_by="):
        terms[name]().fn(step("d", plain, plain, cond))


@pytest.mark.parametrize("name", ["contrastive", "data-to-data"])
def test_a_single_class_and_a_single_sample_of_each_have_finite_gradients(name: str) -> None:
    for ids in (torch.zeros(5, dtype=torch.long), torch.arange(5)):
        pair = embedded(2).embeddings.requires_grad_()
        judgement = judged(embeddings=pair)
        found = terms[name]().fn(step("d", judgement, judgement, Condition({"class": ids})))
        found.sum().backward()
        assert found.isfinite().all() and pair.grad.isfinite().all()


def test_the_head_embeds() -> None:
    torch.manual_seed(0)
    head = Head(6, 3, "contrastive", embedding=4)
    features = torch.randn(5, 6)
    pair = head(features, IDS, []).embeddings
    assert pair.shape == (5, 2, 4)
    torch.testing.assert_close(pair.square().sum(2), torch.ones(5, 2))
    row = head.proxies.weight[2]
    torch.testing.assert_close(pair[3, 1], row / row.norm())
    made = head.project(features)[3]
    torch.testing.assert_close(pair[3, 0], made / made.norm())
    assert Head(6, 0, "contrastive")(features, None, []).embeddings is None


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
def test_every_parameter_of_a_contrastive_d_learns(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    D = ResNetDiscriminator(ImageSample(shape=shape), by_class(3), width=2, class_by="contrastive", embedding=5)
    judgement = D(torch.randn(5, *shape), COND)
    loss = terms["contrastive"]().fn(step("d", judgement, judgement))
    (loss.sum() + (judgement.logits[0] * torch.randn(5)).sum()).backward()
    assert not [name for name, p in D.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]

"""Every term against closed forms, on samples of ranks 0 to 3."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import losses, terms
from mulligan.core.step import Loss, Penalty, Rule, Step
from mulligan.runs.parts import load_parts

load_parts()
EMPTY = Condition()
SHAPES = [(3,), (2, 5), (1, 4, 3), (2, 2, 3, 2)]


class Linear(Discriminator):
    """D(x) = w . x, and twice that from a second head with two positions."""

    def __init__(self, shape: tuple[int, ...], heads: int = 1) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        self.heads = heads

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        y = (x * self.w).flatten(1).sum(1)
        return Judgement([y, torch.stack([y, y], 1)][: self.heads], [])


class Quadratic(Linear):
    """D(x) = (w . x)^2 / 2, whose gradient is (w . x) w."""

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([0.5 * (x * self.w).flatten(1).sum(1).square()], [])


def step(D: Discriminator, shape: tuple[int, ...], side: str = "d", loss: Loss | None = None) -> Step:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(4, *shape, generator=generator).requires_grad_() for _ in range(2))
    return Step(side, Generator(), D, torch.zeros(4, 1), EMPTY, real, fake, loss=loss)


@pytest.mark.parametrize("name", list(terms))
def test_every_term_says_whose_it_is(name: str) -> None:
    rule = terms[name]()
    assert isinstance(rule, Rule) and rule.side in ("g", "d", "both")


def test_penalties_say_whether_they_differentiate_twice() -> None:
    twice = [name for name in terms if isinstance(rule := terms[name](), Penalty) and rule.twice]
    assert twice == ["dragan", "path-length", "r1", "r2", "unrolled", "wgan-div", "wgan-gp"]
    assert not any(terms[name](sigma=0.01).twice for name in ("dragan", "r1", "r2", "wgan-gp"))
    assert terms["r1"](share=0.5).twice


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "heads", "slope"), [("r1", 1, 1), ("r2", 1, 1), ("r1", 2, 3)])
def test_zero_centred_penalties_of_a_linear_d(name: str, heads: int, slope: int, shape: tuple[int, ...]) -> None:
    D = Linear(shape, heads)
    found = terms[name]().fn(step(D, shape))
    expected = 0.5 * (slope * D.w).square().sum()
    torch.testing.assert_close(found, expected.expand(4))
    (gradient,) = torch.autograd.grad(found.mean(), D.w)
    torch.testing.assert_close(gradient, slope**2 * D.w.detach())  # reaches D's weights through the gradient


@pytest.mark.parametrize("shape", SHAPES)
def test_r1_and_r2_of_a_quadratic_d(shape: tuple[int, ...]) -> None:
    D = Quadratic(shape)
    at = step(D, shape)
    for name, x in (("r1", at.real), ("r2", at.fake)):
        expected = 0.5 * (x * D.w).flatten(1).sum(1).square() * D.w.square().sum()
        torch.testing.assert_close(terms[name]().fn(at), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["wgan-gp", "dragan"])
@pytest.mark.parametrize("target", [1.0, 0.0])
def test_one_lipschitz_penalties_of_a_linear_d(name: str, target: float, shape: tuple[int, ...]) -> None:
    D = Linear(shape)
    found = terms[name](target=target).fn(step(D, shape))
    torch.testing.assert_close(found, (D.w.norm() - target).square().expand(4))


@pytest.mark.parametrize("shape", SHAPES)
def test_wgan_div_of_a_linear_d(shape: tuple[int, ...]) -> None:
    D = Linear(shape)
    found = terms["wgan-div"](power=4).fn(step(D, shape))
    torch.testing.assert_close(found, D.w.norm().pow(4).expand(4))


def test_wgan_gp_penalises_between_real_and_fake_and_dragan_around_real() -> None:
    inputs = []

    class Spy(Linear):
        def forward(self, x: Tensor, cond: Condition) -> Judgement:
            inputs.append(x.detach())
            return super().forward(x, cond)

    at = step(Spy((2, 3)), (2, 3))
    terms["wgan-gp"]().fn(at)
    t = (inputs[0] - at.real) / (at.fake - at.real)  # one number per sample, in [0, 1]
    torch.testing.assert_close(t.flatten(1).std(1), torch.zeros(4), atol=1e-4, rtol=0)
    assert t.min() >= 0 and t.max() <= 1 and t.flatten(1)[:, 0].unique().numel() == 4
    terms["dragan"](spread=0.5).fn(at)
    away = inputs[1] - at.real
    assert away.min() >= 0 and away.max() <= 0.5 * at.real.std()


def test_a_flat_d_has_finite_penalty_gradients() -> None:
    D = Linear((3,))
    nn.init.zeros_(D.w)
    (gradient,) = torch.autograd.grad(terms["wgan-gp"]().fn(step(D, (3,))).mean(), D.w)
    assert gradient.isfinite().all()


def test_r1_agrees_in_bfloat16() -> None:
    torch.manual_seed(0)

    class Net(Discriminator):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(8 * 16, 1))

        def forward(self, x: Tensor, cond: Condition) -> Judgement:
            return Judgement([self.net(x).squeeze(1)], [])

    D = Net()
    exact = terms["r1"]().fn(step(D, (1, 6, 6)))
    with torch.autocast("cpu", torch.bfloat16):
        rough = terms["r1"]().fn(step(D, (1, 6, 6)))
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_reconstruction(shape: tuple[int, ...]) -> None:
    at = step(Linear(shape), shape, "g")
    difference = (at.fake - at.real).flatten(1)
    torch.testing.assert_close(terms["l1"]().fn(at), difference.abs().mean(1))
    torch.testing.assert_close(terms["mse"]().fn(at), difference.square().mean(1))
    assert terms["l1"]().side == terms["mse"]().side == "g"


def test_clip_clamps_d_at_the_weight() -> None:
    D = Linear((50,))
    before = D.w.detach().clone()
    terms["clip"]().fn(step(D, (50,)), 0.3)
    assert torch.equal(D.w, before.clamp(-0.3, 0.3)) and D.w.abs().max() == 0.3


class Network(Discriminator):
    """A smooth D, whose gradient is not constant."""

    def __init__(self, *extra: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), *extra, nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([self.net(x).squeeze(1)], [], x.flatten(1)[:, :3] if "class" in cond else None)


@pytest.mark.parametrize("name", ["r1", "r2", "wgan-gp", "dragan"])
def test_first_order_penalties_are_the_exact_ones_on_average(name: str) -> None:
    """Values and gradients of one pair of samples, repeated 40,000 times to average out the randomness."""
    D, many = Network(), 40_000
    real, fake = (torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    found = {}
    for sigma in (0.0, 0.01):
        torch.manual_seed(0)
        r, f = (x.expand(many, -1, -1, -1).clone().requires_grad_() for x in (real, fake))
        values = terms[name](sigma=sigma).fn(Step("d", Generator(), D, r[:, 0], EMPTY, r, f))
        gradient = torch.autograd.grad(values.mean(), list(D.parameters()), allow_unused=True)
        found[sigma] = (values, torch.cat([g.flatten() for g in gradient if g is not None]))
    (exact, exact_gradient), (rough, rough_gradient) = found[0.0], found[0.01]
    error = rough.std() / many**0.5
    assert (rough.mean() - exact.mean()).abs() < 4 * error + 1e-3 * exact.mean().abs()
    assert (rough_gradient[: len(exact_gradient)] - exact_gradient).norm() < 0.05 * exact_gradient.norm()


@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_a_share_of_the_batch(sigma: float) -> None:
    D = Linear((2, 3))
    at = step(D, (2, 3))
    found = terms["r1"](share=0.5, sigma=sigma).fn(at)
    assert found.shape == (2,)
    if sigma == 0:
        torch.testing.assert_close(found, 0.5 * D.w.square().sum().expand(2))


def test_a_first_order_penalty_takes_one_more_forward_pass_and_never_differentiates_twice() -> None:
    sizes = []

    class Counting(Linear):
        def forward(self, x: Tensor, cond: Condition) -> Judgement:
            sizes.append(len(x))
            return super().forward(x, cond)

    at = step(Counting((5,)), (5,))
    _ = at.on_real  # the loss's own
    penalty = terms["r1"](sigma=0.01, share=0.25)
    penalty.fn(at).mean().backward()
    assert sizes == [4, 1] and penalty.grad_of == ()


def test_randomness_in_d_is_refused_where_it_would_count_as_slope() -> None:
    with pytest.raises(UserError, match="without dropout"):
        terms["r1"](sigma=0.01).fn(step(Network(nn.Dropout(0.3)), (3, 2, 2)))
    with pytest.raises(UserError, match="batch norm"):
        terms["r1"](sigma=0.01, share=0.5).fn(step(Network(nn.BatchNorm1d(16)), (3, 2, 2)))
    with pytest.raises(UserError, match="without spectral norm"):
        spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))
        terms["r1"](sigma=0.01).fn(step(Network(spectral), (3, 2, 2)))
    with pytest.raises(UserError, match="share=0"):
        terms["r1"](share=0.0)


def test_lecam_pulls_towards_the_running_mean_of_the_other_side() -> None:
    D, memory = Linear((3,)), {}
    term = terms["lecam"](decay=0.75)
    means = {}
    for seed in range(3):
        real, fake = (torch.randn(4, 3, generator=torch.Generator().manual_seed(10 * seed + i)) for i in range(2))
        found = term.fn(Step("d", Generator(), D, real, EMPTY, real, fake, memory=memory))
        logits = {"real": real @ D.w.detach(), "fake": fake @ D.w.detach()}
        for name, logit in logits.items():
            means[name] = 0.75 * means[name] + 0.25 * logit.mean() if seed else logit.mean()
        expected = (logits["real"] - means["fake"]).square() + (logits["fake"] - means["real"]).square()
        torch.testing.assert_close(found.detach(), expected)
    assert set(memory) == {"lecam.real", "lecam.fake"} and not any(t.requires_grad for t in memory.values())


def test_the_auxiliary_classifier_learns_from_reals_and_fakes() -> None:
    ids = torch.tensor([0, 1, 2, 0])
    at = step(Network(), (3, 2, 2))
    losses = [nn.functional.cross_entropy(x.flatten(1)[:, :3], ids, reduction="none") for x in (at.real, at.fake)]
    for side, expected in (("d", losses[0] + losses[1]), ("g", losses[1])):
        with_classes = Step(side, Generator(), at.D, at.z, Condition({"class": ids}), at.real, at.fake)
        torch.testing.assert_close(terms["auxiliary"]().fn(with_classes), expected)
    with pytest.raises(UserError, match="class_by=classifier"):
        terms["auxiliary"]().fn(at)


def test_orthogonal_counts_products_of_different_rows_and_not_their_lengths() -> None:
    G = nn.Sequential(nn.Linear(2, 3), nn.Embedding(2, 2))
    with torch.no_grad():
        G[0].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]))
    at = Step("g", G, Discriminator(), torch.zeros(4, 1), EMPTY, torch.zeros(4, 2), torch.zeros(4, 2))
    assert terms["orthogonal"]().fn(at).tolist() == [2 * (0**2 + 2**2 + 3**2)]


class Reader(Discriminator):
    """Predicts codes from its input's first numbers, judges by the last, and gives the input as its features."""

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([-x[:, -1].abs()], [x], codes=x[:, :3])


def test_information_is_the_cross_entropy_of_the_code() -> None:
    z = torch.tensor([[0.0, 2.0, 1.0, 9.0], [3.0, 0.0, 0.0, 9.0]])
    fake = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    at = Step("g", Generator(), Reader(), z, EMPTY, fake, fake)
    expected = [-math.log(math.exp(2) / sum(map(math.exp, (1, 2, 0.5)))), math.log(3)]
    assert terms["information"]().fn(at).tolist() == pytest.approx(expected)
    with pytest.raises(UserError, match=r"generator\.codes"):
        terms["information"]().fn(step(Linear((3,)), (3,)))


def test_pull_away_is_the_squared_cosine_with_the_others() -> None:
    fake = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    at = Step("g", Generator(), Reader(), fake, EMPTY, fake, fake)
    assert terms["pull-away"]().fn(at).tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_feature_means_compares_nothing_but_the_means() -> None:
    real = torch.tensor([[1.0, 2.0], [3.0, 6.0], [2.0, 1.0]])
    fake = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]], requires_grad=True)
    found = terms["feature-means"]().fn(Step("g", Generator(), Reader(), fake, EMPTY, real, fake))
    assert found.tolist() == [(2 - 1) ** 2 + (3 - 2) ** 2]
    (slope,) = torch.autograd.grad(found.sum(), fake)
    torch.testing.assert_close(slope, torch.tensor([[-2.0, -2.0]]).expand(3, 2) / 3)
    shuffled = real[[2, 0, 1]]
    assert terms["feature-means"]().fn(Step("g", Generator(), Reader(), real, EMPTY, real, shuffled)).tolist() == [0]


def test_equilibrium_adapts_the_weight_of_fakes() -> None:
    real, fake = torch.tensor([[4.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    rule, memory = terms["equilibrium"](ratio=0.5, rate=0.1), {}
    for k in (0.0, 0.05, 0.1):  # each time by 0.1 (0.5 * 3 - 1)
        at = Step("d", Generator(), Reader(), real, EMPTY, real, fake, memory=memory)
        assert rule.fn(at).tolist() == pytest.approx([1 - k] * 2)
    at = Step("d", Generator(), Reader(), real, EMPTY, real, 1000 * fake, memory=memory)
    rule.fn(at)
    assert memory["equilibrium.k"].item() == 0


class Twins(Discriminator):
    """Reads two times three class logits from its input's first six numbers."""

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        return Judgement([x[:, -1]], [], twins=x[:, :6].reshape(-1, 2, 3))


@pytest.mark.parametrize("name", ["twin", "discriminative"])
def test_two_classifiers_learn_one_from_reals_and_one_from_fakes(name: str) -> None:
    torch.manual_seed(0)
    real, fake, ids = torch.randn(4, 7), torch.randn(4, 7), torch.tensor([0, 1, 2, 1])

    def loss(x: Tensor, which: int) -> Tensor:
        """- log p of the class by the first or the second classifier, or by one of six classes for both together."""
        own = x[:, 3 * which : 3 * which + 3] if name == "twin" else x[:, :6]
        return own.exp().sum(1).log() - x[torch.arange(4), ids + 3 * which]

    for side, expected in (("d", loss(real, 0) + loss(fake, 1)), ("g", loss(fake, 0) - loss(fake, 1))):
        at = Step(side, Generator(), Twins(), torch.zeros(4, 1), Condition({"class": ids}), real, fake)
        torch.testing.assert_close(terms[name]().fn(at), expected)
    with pytest.raises(UserError, match="class_by=twin"):
        terms[name]().fn(step(Linear((3,)), (3,)))


@pytest.mark.parametrize("fakes", [False, True])
def test_consistency_is_how_much_d_changes(fakes: bool) -> None:
    even, left = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    left[..., 0] = 1.0
    D = Linear((1, 4, 4))
    rule = terms["consistency"](operations=("flip",), fakes=fakes)
    at = Step("d", Generator(), D, torch.zeros(2, 1), EMPTY, even, even)
    assert rule.fn(at).tolist() == [0, 0]  # a flip does not change it
    mirrored = ((left - left.flip(3)) * D.w).flatten(1).sum(1).square()
    values = set()
    for seed in range(12):
        torch.manual_seed(seed)
        found = rule.fn(Step("d", Generator(), D, torch.zeros(2, 1), EMPTY, left, even))
        assert all(value == pytest.approx(0) or value == pytest.approx(mirrored[0].item()) for value in found.tolist())
        values |= {round(value, 4) for value in found.tolist()}
    assert len(values) == 2  # flipped, or not
    at = Step("d", Generator(), D, torch.zeros(2, 1), EMPTY, even, left)
    assert any(rule.fn(at).sum().item() > 0 for _ in range(12)) == fakes


def test_latent_consistency_pulls_d_together_and_g_apart() -> None:
    torch.manual_seed(0)
    G, D = nn.Linear(3, 5), Linear((5,))
    G.forward = lambda z, cond: nn.functional.linear(z, G.weight, G.bias)
    z, rule = torch.randn(20_000, 3), terms["latent-consistency"](sigma=0.1, variety=0.5)
    fake = G(z, EMPTY)
    d, g = (rule.fn(Step(side, G, D, z, EMPTY, fake, fake.detach() if side == "d" else fake)) for side in "dg")
    variance = 0.01 * (D.w @ G.weight).square().sum()  # of D(G(z + e)) - D(G(z))
    assert d.mean().item() == pytest.approx(variance.item(), rel=0.05)
    assert g.mean().item() == pytest.approx(-0.5 * 0.01 * G.weight.square().sum().item() / 5, rel=0.05)
    g.mean().backward()
    assert G.weight.grad.norm() > 0


class Styled(Generator):
    """An image that is linear in two layers' styles."""

    has_styles = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, 1 * 4 * 4))
        self.mapping = nn.Parameter(torch.ones(3))

    def styled(self, z: Tensor, cond: Condition) -> Tensor:
        return (z * self.mapping)[:, None].expand(-1, 2, -1)

    def synthesis(self, ws: Tensor) -> Tensor:
        return torch.einsum("bls,lsp->bp", ws, self.weight).unflatten(1, (1, 4, 4))


def test_path_length_is_how_much_the_image_changes_with_the_style() -> None:
    torch.manual_seed(0)
    G, z, memory = Styled(), torch.randn(4000, 3), {}
    rule = terms["path-length"](decay=1.0, share=1.0)
    found = rule.fn(Step("g", G, Discriminator(), z, EMPTY, z, z, memory=memory))
    slopes = torch.einsum("bp,lsp->bls", torch.randn(4000, 16) / 4, G.weight.detach())
    lengths = slopes.square().sum(2).mean(1).sqrt()
    assert memory["path-length.mean"].item() == pytest.approx(lengths.mean().item(), rel=0.03)
    assert found.mean().item() == pytest.approx(lengths.var().item(), rel=0.1)
    found.mean().backward()
    assert G.weight.grad.norm() > 0
    assert len(terms["path-length"](share=0.25).fn(Step("g", G, Discriminator(), z, EMPTY, z, z))) == 1000
    with pytest.raises(UserError, match="generator=stylegan2"):
        rule.fn(step(Linear((3,)), (3,)))


@pytest.mark.parametrize(("loss", "sees_real"), [("wasserstein", False), ("relativistic", True)])
def test_unrolled_is_the_loss_under_a_d_that_has_answered(loss: str, sees_real: bool) -> None:
    """For D(x) = w . x the answer has a closed form: w moves along the difference of reals and fakes."""
    D = Linear((3,))
    at = step(D, (3,), "g", losses[loss]())
    found = terms["unrolled"](steps=3, rate=0.1).fn(at)
    w = D.w.detach()
    for _ in range(3):
        if sees_real:  # softplus(w . (fake - real)), whose slope is the sigmoid
            difference = at.fake - at.real
            w = w - 0.1 * ((difference @ w).sigmoid()[:, None] * difference).mean(0)
        else:
            w = w - 0.1 * (at.fake - at.real).mean(0)

    def of_g(w: Tensor) -> Tensor:
        return torch.nn.functional.softplus((at.real - at.fake) @ w) if sees_real else -at.fake @ w

    expected = of_g(w) - of_g(D.w)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.mean(), at.fake, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.mean(), at.fake)
    torch.testing.assert_close(gradient, wanted)
    with pytest.raises(UserError, match="at least 1"):
        terms["unrolled"](steps=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_is_the_mean_difference_of_neighbours(shape: tuple[int, ...]) -> None:
    at = step(Linear(shape), shape, "g")
    expected = torch.zeros(4)
    for axis in range(2, len(shape) + 1):
        length = at.fake.shape[axis]
        steps = at.fake.narrow(axis, 1, length - 1) - at.fake.narrow(axis, 0, length - 1)
        expected = expected + steps.abs().flatten(1).mean(1)
    found = terms["total-variation"]().fn(at)
    torch.testing.assert_close(found, expected)
    assert found.shape == (4,)  # zeros for samples without space

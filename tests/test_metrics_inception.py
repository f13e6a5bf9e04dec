"""The FID's InceptionV3: names and shapes of the published weights, and the output of torch-fidelity's network."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.registry import features
from mulligan.metrics.features.inception import PUBLISHED, WEIGHTS_VARIABLE, InceptionV3, _average

# Convolutions of pt_inception-2015-12-05 in the order of the net: name, and the weight's shape.
STEM = "1a_3x3 32 3 3 3, 2a_3x3 32 32 3 3, 2b_3x3 64 32 3 3, 3b_1x1 80 64 1 1, 4a_3x3 192 80 3 3"
A = """branch1x1 64 {i} 1 1, branch5x5_1 48 {i} 1 1, branch5x5_2 64 48 5 5, branch3x3dbl_1 64 {i} 1 1,
branch3x3dbl_2 96 64 3 3, branch3x3dbl_3 96 96 3 3, branch_pool {w} {i} 1 1"""
B = "branch3x3 384 288 3 3, branch3x3dbl_1 64 288 1 1, branch3x3dbl_2 96 64 3 3, branch3x3dbl_3 96 96 3 3"
C = """branch1x1 192 768 1 1, branch7x7_1 {w} 768 1 1, branch7x7_2 {w} {w} 1 7, branch7x7_3 192 {w} 7 1,
branch7x7dbl_1 {w} 768 1 1, branch7x7dbl_2 {w} {w} 7 1, branch7x7dbl_3 {w} {w} 1 7, branch7x7dbl_4 {w} {w} 7 1,
branch7x7dbl_5 192 {w} 1 7, branch_pool 192 768 1 1"""
D = """branch3x3_1 192 768 1 1, branch3x3_2 320 192 3 3, branch7x7x3_1 192 768 1 1, branch7x7x3_2 192 192 1 7,
branch7x7x3_3 192 192 7 1, branch7x7x3_4 192 192 3 3"""
E = """branch1x1 320 {i} 1 1, branch3x3_1 384 {i} 1 1, branch3x3_2a 384 384 1 3, branch3x3_2b 384 384 3 1,
branch3x3dbl_1 448 {i} 1 1, branch3x3dbl_2 384 448 3 3, branch3x3dbl_3a 384 384 1 3, branch3x3dbl_3b 384 384 3 1,
branch_pool 192 {i} 1 1"""
BLOCKS = {
    "Conv2d_": STEM,
    "Mixed_5b.": A.format(i=192, w=32),
    "Mixed_5c.": A.format(i=256, w=64),
    "Mixed_5d.": A.format(i=288, w=64),
    "Mixed_6a.": B,
    "Mixed_6b.": C.format(w=128),
    "Mixed_6c.": C.format(w=160),
    "Mixed_6d.": C.format(w=160),
    "Mixed_6e.": C.format(w=192),
    "Mixed_7a.": D,
    "Mixed_7b.": E.format(i=1280),
    "Mixed_7c.": E.format(i=2048),
}


def published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for prefix, block in BLOCKS.items():
        for line in block.split(","):
            name, *shape = line.split()
            outputs, *rest = map(int, shape)
            shapes[f"{prefix}{name}.conv.weight"] = (outputs, *rest)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{prefix}{name}.bn.{part}"] = (outputs,)
    return shapes


def random_weights() -> dict[str, Tensor]:
    """Of every published name, at sizes that keep activations alive through 94 layers."""
    rng = torch.Generator().manual_seed(0)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("conv.weight"):
            return torch.randn(shape, generator=rng) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        x = torch.rand(shape, generator=rng)
        return x + 0.5 if name.endswith(("bn.weight", "running_var")) else (x - 0.5) / 4

    return {name: draw(name, shape) for name, shape in sorted(published_shapes().items())}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    save_file(random_weights(), path)
    yield path
    path.unlink()


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        net = InceptionV3()
    ours = {name: tuple(t.shape) for name, t in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(ours) == 94 * 5 + 2
    assert ours == published_shapes()
    assert sum(p.numel() for p in net.parameters()) == 23_850_960  # torchvision's 23,834,568 and 8 more classes


def test_pools_of_the_fid_net():
    assert (_average(torch.ones(1, 1, 8, 8)) == 1).all()  # padding is not counted
    with torch.device("meta"):
        net = InceptionV3()
    assert (net.Mixed_7b.max_pool, net.Mixed_7c.max_pool) == (False, True)


def test_it_runs_from_a_file_of_either_kind(weights: Path, tmp_path: Path):
    net = Part("inception", weights=str(weights)).build(features)
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = net(images)
    assert result.shape == (2, 2048) and result.isfinite().all() and (result > 0).any(1).all()
    assert "not the published" in net.describe
    pth = tmp_path / "weights.pth"
    counters = {f"{n}.num_batches_tracked": torch.tensor(3) for n, m in net.net.named_modules() if hasattr(m, "eps")}
    torch.save({**load_file(weights), **counters}, pth)  # some conversions have batch norm's counters
    again = Part("inception", weights=str(pth), resize="legacy").build(features)
    pth.unlink()
    assert again.stamp == net.stamp
    assert (net.resizing, again.resizing) == ("RGB, 299x299 antialias", "RGB, 299x299 legacy")


def test_it_is_torch_fidelitys_network(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    bare = types.ModuleType("torch_fidelity")  # without its __init__, which needs torchvision
    bare.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "torch_fidelity", bare)
    try:
        peer_class = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    except ImportError as error:
        pytest.skip(f"torch-fidelity does not import: {error}")
    finally:
        for name in [name for name in sys.modules if name.startswith("torch_fidelity.")]:
            monkeypatch.delitem(sys.modules, name)
    pth = tmp_path / "weights.pth"
    counters = {
        n.replace("running_var", "num_batches_tracked"): torch.tensor(0)
        for n in published_shapes()
        if "running_var" in n
    }
    torch.save({**load_file(weights), **counters}, pth)
    peer = peer_class("peer", ["2048"], feature_extractor_weights_path=str(pth))
    pth.unlink()
    net = Part("inception", weights=str(weights), resize="tf1").build(features)
    raw = torch.randint(0, 256, (2, 3, 50, 400), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = peer(raw)[0]
    torch.testing.assert_close(net(to_float(raw)), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


# --- files that are refused


def refused(path: Path | str | None = None) -> str:
    options = {} if path is None else {"weights": str(path)}
    with pytest.raises(UserError) as caught:
        Part("inception", **options).build(features)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_weights_the_error_says_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    message = refused()
    for part in (PUBLISHED, str(tmp_path / "mulligan"), "weights=PATH", WEIGHTS_VARIABLE):
        assert part in message
    assert "no such file" in refused(tmp_path / "absent.pth")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "elsewhere.pth"))
    assert "elsewhere.pth: no such file" in refused()


def test_files_that_are_not_weights(tmp_path: Path):
    class Payload:
        def __reduce__(self):
            return (nn.Linear, (1, 1))

    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2], protocol=2))
    torch.save({"a": "text"}, tmp_path / "text.pth")
    for path in sorted(tmp_path.iterdir()):
        assert f"{path}: not a file of weights" in refused(path)
    save_file({"fc.bias": torch.zeros(10)}, tmp_path / "other.safetensors")
    assert "472 names or shapes differ, such as Conv2d_1a_3x3.bn.bias" in refused(tmp_path / "other.safetensors")


def test_a_damaged_copy_of_the_published_file(weights: Path, tmp_path: Path):
    torch.save(load_file(weights), tmp_path / PUBLISHED)
    assert "damaged: its sha256 is" in refused(tmp_path / PUBLISHED)
    (tmp_path / PUBLISHED).unlink()

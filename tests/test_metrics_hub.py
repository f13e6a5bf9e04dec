"""Feature nets that transformers reads, from tiny ones on disk: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.metrics.features.hub import CLIP, clip, dinov2

transformers = pytest.importorskip("transformers", reason="extra `hub` is not installed")
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}


@pytest.fixture
def dino(tmp_path: Path) -> str:
    transformers.Dinov2Model(transformers.Dinov2Config(**TINY)).save_pretrained(tmp_path / "dino")
    return str(tmp_path / "dino")


def test_dinov2_is_its_class_token(dino: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULLIGAN_DINOV2_WEIGHTS", dino)
    net = dinov2(size=28)
    images = torch.rand(3, 1, 28, 28) * 2 - 1
    assert net(images).shape == (3, net.dim) == (3, 32)
    plain = (images.expand(-1, 3, -1, -1) + 1) / 2
    normal = (plain - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]  # fmt: skip
    assert torch.allclose(net(images), net.net(normal).last_hidden_state[:, 0], atol=1e-6)
    assert net.stamp == dinov2(weights=dino).stamp and len(net.stamp) == 12
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_clip_is_its_embedding(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(**TINY, intermediate_size=64, projection_dim=16)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    net = clip(weights=str(tmp_path / "clip"))
    images = torch.rand(2, 4, 40, 30) * 2 - 1
    assert net(images).shape == (2, net.dim) == (2, 16)
    assert net.resizing == "RGB, 28x28 bicubic antialias" and net.mean[0] == pytest.approx(CLIP[0][0])


def test_missing_weights_are_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"dinov2.*cannot be read or fetched.*MULLIGAN_DINOV2_WEIGHTS") as caught:
        dinov2(weights=str(tmp_path / "none"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="multiple of 14"):
        dinov2(size=30)

"""Samples as files: they can be read back, and no file of the user is lost; sheets of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.sample import read_sample
from mulligan.kinds.image import ImageSample
from mulligan.kinds.pictures import GUTTER, NEUTRAL, captioned, grid


def some(count: int, channels: int = 1, height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=torch.manual_seed(0))


def save(out: Path, images: torch.Tensor, labels: torch.Tensor | None = None) -> None:
    ImageSample(shape=tuple(images.shape[1:])).save(out, images, labels)


def test_range_converters_are_inverse() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_float(every).min() == -1 and to_float(every).max() == 1
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]
    kind = ImageSample(shape=(1, 16, 16))
    records = every.reshape(1, 1, 16, 16)
    assert torch.equal(kind.to_net(records), to_float(records))
    assert torch.equal(kind.to_records(kind.to_net(records)), records)


def test_an_image_sample_is_json_and_draws_a_grid() -> None:
    kind = ImageSample(shape=(3, 4, 6))
    assert read_sample(kind.as_json()).shape == (3, 4, 6) and kind.as_json()["name"] == "image"
    assert kind.sheet(some(5, 3)).tobytes() == grid(some(5, 3)).tobytes()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_grid_holds_every_pixel_of_every_image(channels: int, mode: str) -> None:
    images = some(5, channels)
    picture = grid(images, columns=3, scale=2)
    assert picture.mode == mode
    assert picture.size == (3 * (6 * 2 + GUTTER) + GUTTER, 2 * (4 * 2 + GUTTER) + GUTTER)
    pixels = np.asarray(picture).reshape(picture.height, picture.width, channels)
    for i, image in enumerate(images):
        top, left = GUTTER + i // 3 * (8 + GUTTER), GUTTER + i % 3 * (12 + GUTTER)
        cell = pixels[top : top + 8, left : left + 12]
        for dy in (0, 1):
            for dx in (0, 1):
                assert np.array_equal(cell[dy::2, dx::2], image.permute(1, 2, 0).numpy())
    assert (pixels[0] == NEUTRAL).all() and (pixels[:, -1] == NEUTRAL).all()
    assert (pixels[9:, 2 * (12 + GUTTER) :] == NEUTRAL).all(), "the sixth cell is empty"


def test_a_grid_is_nearly_square() -> None:
    assert grid(some(64, 1, 28, 28)).size == (8 * (2 * 28 + GUTTER) + GUTTER,) * 2, "small images are doubled"
    assert grid(some(2, 1, 128, 128), columns=5).size == (2 * (128 + GUTTER) + GUTTER, 128 + 2 * GUTTER)
    assert max(grid(some(1000, 1, 28, 28)).size) < 2048, "many images are not enlarged"


def test_transparent_parts_show_a_checkerboard() -> None:
    images = torch.full((1, 4, 16, 16), 255, dtype=torch.uint8)
    images[:, 3, :, 8:] = 0
    picture = grid(images, scale=1)
    assert picture.mode == "RGB"
    pixels = np.asarray(picture)[GUTTER:-GUTTER, GUTTER:-GUTTER]
    assert (pixels[:, :8] == 255).all()
    assert len(np.unique(pixels[:, 8:])) == 2 and pixels[:, 8:].max() < 255


@pytest.mark.parametrize("channels", [1, 3])
def test_captions_are_left_of_their_rows_and_above_their_columns(channels: int) -> None:
    sheet = grid(torch.full((6, channels, 28, 28), 200, dtype=torch.uint8), 3)
    whole = captioned(sheet, ["one", ""], ["", "", "+3"])
    left, top = whole.width - sheet.width, whole.height - sheet.height
    assert whole.crop((left, top, whole.width, whole.height)).tobytes() == sheet.tobytes()
    dark = np.asarray(whole.convert("L")) < 100
    rows, columns = np.nonzero(dark[top:, :left])[0], np.nonzero(dark[:top, left:])[1]
    assert len(rows) and rows.max() < sheet.height / 2 and not dark[:top, :left].any()
    assert len(columns) and columns.min() > sheet.width * 2 / 3


def test_a_png_is_a_grid_and_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "new" / "grid.PNG"
    save(out, some(4))
    save(out, some(9))
    with Image.open(out) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(grid(some(9))))
    assert [path.name for path in out.parent.iterdir()] == ["grid.PNG"], "no draft is left"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_npz_holds_images_and_labels(channels: int, tmp_path: Path) -> None:
    images, labels = some(5, channels), torch.tensor([3, 1, 4, 1, 5], dtype=torch.int32)
    save(tmp_path / "s.npz", images, labels)
    with np.load(tmp_path / "s.npz") as saved:
        assert saved["images"].dtype == np.uint8 and saved["labels"].dtype == np.int64
        assert np.array_equal(saved["images"], images.permute(0, 2, 3, 1).numpy())
        assert saved["labels"].tolist() == [3, 1, 4, 1, 5]
    save(tmp_path / "s.npz", images)
    with np.load(tmp_path / "s.npz") as saved:
        assert saved.files == ["images"]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_folder_holds_one_file_an_image(channels: int, mode: str, tmp_path: Path) -> None:
    images = some(3, channels)
    save(tmp_path / "all", images)
    files = sorted((tmp_path / "all").iterdir())
    assert [path.name for path in files] == ["000000.png", "000001.png", "000002.png"]
    for path, image in zip(files, images, strict=True):
        with Image.open(path) as picture:
            assert picture.mode == mode
            assert np.array_equal(np.asarray(picture).reshape(4, 6, channels), image.permute(1, 2, 0).numpy())


def test_classes_are_sub_folders_that_sort_by_id(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    save(tmp_path / "v1.2", some(4), torch.tensor([10, 2, 10, 0]))
    found = sorted(str(path.relative_to(tmp_path / "v1.2").as_posix()) for path in tmp_path.rglob("*.png"))
    assert found == ["00/000003.png", "02/000001.png", "10/000000.png", "10/000002.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["v1.2"]


def test_a_folder_with_files_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "000000.png").write_text("mine")
    (tmp_path / "file").write_text("mine too")
    for name in ("photos", "file"):
        with pytest.raises(UserError, match=f"{name}: .*choose another"):
            save(tmp_path / name, some(1))
    assert (tmp_path / "photos" / "000000.png").read_text() == "mine" and (tmp_path / "file").read_text() == "mine too"
    assert len(list(tmp_path.rglob("*"))) == 3


def test_a_failure_leaves_no_incomplete_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, path: Path, *args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="space"):
        save(tmp_path / "out", some(2))
    assert not list(tmp_path.iterdir())


def test_other_names_are_refused_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jpg: images are not written as \.jpg; .*\.png.*\.npz.*folder"):
        save(tmp_path / "a.jpg", some(1))
    assert not list(tmp_path.iterdir())

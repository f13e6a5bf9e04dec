"""Folders and zips as they are found in the wild: each case is built here, and checked by its pixels or its reason."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mulligan.core.errors import UserError
from mulligan.data import Dataset, files, open_data

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def put(path: Path, data: bytes | np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else encoded(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def opened(folder: Path, tmp_path: Path):
    return lambda path=folder, **options: open_data(path, cache=tmp_path / "cache", **options)


def pixels(data: Dataset, index: int = 0) -> np.ndarray:
    """uint8 (H, W, C)"""
    return data.records([index])[0].permute(1, 2, 0).numpy()


def only(data: Dataset) -> np.ndarray:
    assert data.count == 1
    return pixels(data)


def reasons(data: Dataset) -> dict[str, str]:
    return dict(data.checkup.unreadable)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


# what is in a file


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(folder, opened, format):
    image = noise(6, 9, 3) if format != "GIF" else noise(6, 9)
    put(folder / f"x.{format.lower()}", encoded(image, format, **({"lossless": True} if format == "WEBP" else {})))
    assert np.array_equal(only(opened(channels=None if format != "GIF" else 1)).squeeze(), image)


def test_the_first_frame_of_a_gif(folder, opened):
    frames = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    frames[0].save(folder / "x.gif", save_all=True, append_images=frames[1:])
    assert (only(opened(channels=1)) == 10).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(folder, opened, format):
    deep = np.linspace(0, 65535, 600).round().astype(np.uint16).reshape(20, 30)
    put(folder / f"x.{format.lower()}", encoded(deep, format))
    data = opened()
    assert np.array_equal(only(data)[:, :, 0], (deep / 257).round().astype(np.uint8))
    assert data.checkup.found["modes"] == {"16-bit grey": 1} and any("16-bit" in line for line in data.checkup.plan)


def test_cmyk(folder, opened):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(folder / "red.jpg", quality=95)
    assert np.abs(only(opened()).astype(int) - [255, 0, 0]).max() < 12


def test_grey_with_alpha_1_bit_and_palettes(folder, opened, tmp_path):
    Image.new("LA", (4, 4), (60, 128)).save(folder / "a.png")
    assert (only(opened()) == [60, 60, 60, 128]).all()
    assert (only(opened(channels=1)) == round(255 - (255 - 60) * 128 / 255)).all()  # on white

    put(tmp_path / "bits" / "b.png", encoded(np.eye(4, dtype=bool)))
    assert np.array_equal(only(opened(tmp_path / "bits"))[:, :, 0], np.eye(4, dtype=np.uint8) * 255)

    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "bits" / "b.png")
    assert (only(opened(tmp_path / "bits"))[1:] == [9, 8, 7]).all()
    palette.save(tmp_path / "bits" / "b.png", transparency=0)
    clear = only(opened(tmp_path / "bits"))
    assert (clear[0, 0, 3], clear[1, 1].tolist()) == (0, [9, 8, 7, 255])
    assert (only(opened(tmp_path / "bits", channels=3))[0, 0] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "colours"), [("PNG", 3), ("TIFF", 3), ("TIFF", 1), ("WEBP", 3)])
def test_exif_turns_images_upright(folder, opened, orientation, format, colours):
    upright = noise(5, 8, 3) if colours == 3 else noise(5, 8)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"lossless": True} if format == "WEBP" else {}
    put(folder / f"x.{format.lower()}", encoded(np.ascontiguousarray(stored), format, exif=exif, **more))
    data = opened()
    assert data.checkup.found["sizes"] == {"5x8": 1} and np.array_equal(only(data).squeeze(), upright)


def test_damaged_exif_does_not_cost_the_image(folder, opened):
    put(folder / "x.jpg", encoded(noise(8, 8, 3), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xee" * 20))
    assert opened().count == 1


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(folder, opened):
    y, x = np.mgrid[:900, :1200]
    image = Image.fromarray(
        np.stack([128 + 100 * np.sin(x / 90), 128 + 100 * np.cos(y / 70), x / 5], -1).astype(np.uint8)
    )
    image.save(folder / "x.jpg", quality=95)
    slow = image.crop((150, 0, 1050, 900)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(only(opened(size=32)).astype(int) - np.asarray(slow)).mean() < 1.5


# what is done to it


def test_most_frequent_size_wins_and_the_rest_is_cropped_at_the_centre(folder, opened):
    wide = noise(10, 30, 3)
    put(folder / "a.png", wide)
    for i in range(3):
        put(folder / f"b{i}.png", noise(20, 20, 3))
    data = opened()
    assert data.shape == (3, 20, 20) and data.checkup.found["sizes"] == {"20x20": 3, "10x30": 1}
    whole = np.asarray(Image.fromarray(wide).resize((60, 20), Image.Resampling.LANCZOS))
    assert np.array_equal(pixels(data, 0), whole[:, 20:40])
    assert data.checkup.found["resize"] in " ".join(
        data.checkup.plan
    ) and "resize 1 images of another size" in " ".join(data.checkup.plan)
    assert opened(size=(4, 6)).shape == (3, 4, 6)
    with pytest.raises(UserError, match="--size 0x4"):
        opened(size=(0, 4))


def test_shrinking_is_antialiased(folder, opened):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    put(folder / "x.png", board)
    assert np.abs(only(opened(size=8))[1:-1, 1:-1].astype(int) - 127).max() <= 2  # nearest would give 0 or 255


def test_mixed_modes_become_what_most_are(folder, opened):
    colour = np.full((4, 4, 3), [200, 100, 50], np.uint8)
    put(folder / "a.png", colour)
    for i in range(2):
        put(folder / f"grey{i}.png", np.full((4, 4), 77, np.uint8))
    put(folder / "clear.png", np.zeros((4, 4, 4), np.uint8))
    data = opened()
    assert data.shape[0] == 1 and data.checkup.found["modes"] == {"grey": 2, "RGB": 1, "RGBA": 1}
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)  # ITU-R 601
    assert [int(pixels(data, i)[0, 0, 0]) for i in range(4)] == [luma, 255, 77, 77]
    assert any("1 RGB" in line and "1 RGBA" in line for line in data.checkup.plan)
    assert (pixels(opened(channels=4), 2) == [77, 77, 77, 255]).all()
    with pytest.raises(UserError, match="channels=2 is not valid: Input should be 1, 3 or 4"):
        opened(channels=2)


# what is wrong with it


def test_bad_files_are_listed_and_skipped_up_to_a_limit(folder, opened):
    for i in range(20):
        put(folder / f"good{i:02}.png", noise(8, 8))
    put(folder / "cut.jpg", encoded(noise(64, 64, 3), "JPEG")[:1500])
    put(folder / "empty.png", b"")
    put(folder / "text.jpg", b"I am not an image\n" * 100)
    put(folder / "huge.png", png_header(50_000, 50_000))
    put(folder / "large.png", png_header(12_000, 10_000))
    put(folder / "float.tiff", encoded(np.ones((8, 8), np.float32), "TIFF"))
    data = opened(max_bad=0.3)
    assert data.count == 20 and data.checkup.files == 26 and data.shape == (1, 8, 8)
    why = reasons(data)
    assert "truncated" in why["cut.jpg"] and why["empty.png"] == "an empty file" and "not an image" in why["text.jpg"]
    assert "100 million" in why["huge.png"] and "12000 x 10000" in why["large.png"] and "floating" in why["float.tiff"]
    assert len(why) == 6 and "0x" not in str(why)
    for again in range(2):  # found in the cache, the limit still holds
        with pytest.raises(
            UserError, match=r"(5|6) of 26 image files .* limit is 10.0%: .*empty.png.*--max-bad 0\.\d+"
        ):
            opened(max_bad=0.10)
        if not again:
            opened(max_bad=1)
    with pytest.raises(UserError, match=r"--max-bad 1\.5"):
        opened(max_bad=1.5)


def test_the_limit_that_the_error_names_is_enough(folder, opened):
    for i in range(7):
        put(folder / f"{i}.png", noise(8, 8))
    put(folder / "x.png", b"")
    with pytest.raises(UserError) as error:
        opened()
    assert opened(max_bad=float(str(error.value).split("--max-bad ")[1].split()[0])).count == 7


def test_nothing_usable(folder, opened, tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        opened()
    put(folder / "notes.txt", b"x")
    with pytest.raises(UserError, match="none of 1 files has such an extension"):
        opened()
    put(folder / "a.png", b"")
    with pytest.raises(UserError, match=r"none of 1 image files .* a.png \(an empty file\)"):
        opened(max_bad=1)
    put(folder / "a.png", encoded(noise(64, 64))[:300])  # its header is good
    with pytest.raises(UserError, match="none of 1 image files"):
        opened(max_bad=1)
    with pytest.raises(UserError, match="no such file or folder; give 'digits'"):
        opened(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"notes.txt: not usable as data"):
        opened(folder / "notes.txt")
    with pytest.raises(UserError, match="the name of the data is empty"):
        opened("")


def test_hidden_files_are_silent_and_other_files_counted(folder, opened):
    put(folder / "a.PNG", noise(4, 4))
    for name in (".DS_Store", ".hidden.png", ".git/b.png", "__MACOSX/c.png"):
        put(folder / name, noise(4, 4))
    for name in ("notes.txt", "sub/list.txt", "README"):
        put(folder / name, b"x")
    data = opened()
    assert (data.count, data.checkup.ignored) == (1, {".txt": 2, "no extension": 1})


@pytest.mark.skipif(os.name == "nt", reason="POSIX links and pipes")
def test_links_in_circles(folder, opened, tmp_path):
    put(folder / "a" / "1.png", noise(4, 4))
    put(tmp_path / "elsewhere" / "2.png", noise(4, 4))
    put(tmp_path / "secret.png", noise(4, 4))
    (folder / "a" / "up").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path)  # holds `folder` itself, and all beside it
    (folder / "0").symlink_to(folder / "a")  # which comes first by name
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder / "linked")
    (folder / "self").symlink_to(folder / "self")
    data = opened(labels=True)
    assert (data.count, data.classes) == (2, ["a", "linked"])
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    os.mkfifo(folder / "pipe.png")
    why = reasons(opened(max_bad=1))
    assert (
        why["pipe.png"] == "not a regular file" and "symbolic links" in why["self.png"] and "no such" in why["gone.png"]
    )


def test_unreadable_files_and_folders(folder, opened):
    for name in ("a.png", "b.png", "sub/c.png"):
        put(folder / name, noise(4, 4))
    (folder / "b.png").chmod(0)
    (folder / "sub").chmod(0)
    if os.access(folder / "b.png", os.R_OK):
        pytest.skip("this user may read everything")
    try:
        assert reasons(opened(max_bad=1)) == {"b.png": "permission denied", "sub/": "permission denied"}
    finally:
        (folder / "sub").chmod(0o700)
    (folder / "b.png").chmod(0o600)
    assert opened().count == 3  # the change is noticed


def test_names_that_a_terminal_would_obey(folder, opened):
    put(folder / "a\x1b[31m\n.png", b"")
    put(folder / os.fsdecode(b"\xff.png"), noise(4, 4))
    data = opened(max_bad=1)
    assert reasons(data) == {r"a\x1b[31m\n.png": "an empty file"} and data.count == 1


# zips


def zip_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_is_its_folder(folder, opened, tmp_path):
    members = {f"{c}/{i}.png": encoded(noise(5, 5, 3)) for c in "ba" for i in range(15)}
    for name, data in members.items():
        put(folder / name, data)
    plain, zipped = opened(labels=True), opened(zip_of(tmp_path / "x.zip", members), labels=True)
    assert plain.fingerprint == zipped.fingerprint and zipped.classes == ["a", "b"] and zipped.class_counts == [15, 15]
    assert (plain.name, zipped.name) == ("data/", "x.zip")
    wrapped = opened(zip_of(tmp_path / "y.zip", {f"x/y/{name}": data for name, data in members.items()}), labels=True)
    assert wrapped.fingerprint == plain.fingerprint


def test_dirty_zip(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 1 << 20)
    members = {f"ok/{i}.png": encoded(noise(8, 8)) for i in range(3)}
    bad = ["../up.png", "/absolute.png", "C:\\drive.png", "ok/../../x.png"]
    members |= dict.fromkeys([*bad, "__MACOSX/._0.png", "notes.txt"], encoded(noise(8, 8)))
    members |= {"bomb.png": bytes(2 << 20), "rot.png": encoded(noise(8, 8)), "locked.png": encoded(noise(8, 8))}
    path = zip_of(tmp_path / "x.zip", members, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"IDAT", raw.index(b"rot.png")) + 10] ^= 255
    raw[raw.index(b"locked.png") - 30 + 6] |= 1  # the flag "encrypted", in the local header
    raw[raw.rindex(b"locked.png") - 46 + 8] |= 1  # and in the directory
    path.write_bytes(raw)
    before = sorted(tmp_path.rglob("*"))
    data = opened(path, max_bad=1)
    why = reasons(data)
    assert data.count == 3 and len(why) == 7 and data.checkup.ignored == {".txt": 1}
    assert sum("outside of the zip" in text for text in why.values()) == 4
    assert "unpacked" in why["bomb.png"] and "CRC" in why["rot.png"] and why["locked.png"] == "encrypted"
    written = set(tmp_path.rglob("*")) - set(before)
    assert all((tmp_path / "cache") in (at, *at.parents) for at in written)


def test_not_a_zip(opened, tmp_path):
    put(tmp_path / "x.zip", b"PK nonsense")
    with pytest.raises(UserError, match=r"x\.zip: not a zip"):
        opened(tmp_path / "x.zip")


# classes


def test_sub_folders_as_classes(folder, opened):
    for c in ("10", "2", "cat/deep"):
        put(folder / c / "1.png", noise(4, 4))
    put(folder / "empty" / "notes.txt", b"x")
    data = opened(labels=True)
    assert data.classes == ["10", "2", "cat"] and data.label_of([2, 0]).tolist() == [2, 0]
    assert opened().label_of([0]) is None and opened().classes == [] and opened().class_counts == []
    put(folder / "stray.png", noise(4, 4))
    with pytest.raises(UserError, match=r"stray.png \(in no sub-folder of a class\)"):
        opened(labels=True)


def test_no_classes(folder, opened):
    put(folder / "a.png", noise(4, 4))
    put(folder / "one" / "a.png", noise(4, 4))
    with pytest.raises(UserError, match="--labels takes sub-folders as classes"):
        opened(labels=True)


def test_a_class_that_loses_all_its_images(folder, opened):
    for c in "abc":
        put(folder / c / "1.png", b"" if c == "b" else noise(4, 4))
    data = opened(labels=True, max_bad=0.5)
    assert (data.classes, data.labels.tolist()) == (["a", "c"], [0, 1])


# the check-up


def test_checkup_counts_copies_and_constants(folder, opened):
    same = noise(4, 4)
    for i in range(3):
        put(folder / f"same{i}.png", same)
    put(folder / "flat.png", np.full((4, 4), 9, np.uint8))
    put(folder / "z.png", noise(4, 4))
    found = opened().checkup
    assert (found.duplicates, found.found["constant"], found.samples) == (2, 1, 5)
    assert found.duplicate_pairs == [["same0.png", "same1.png"], ["same0.png", "same2.png"]]


@pytest.mark.skipif(not (SHARED / "faces-raw.zip").exists(), reason="the shared data sets are not here")
def test_faces_as_they_come(opened):
    data = opened(SHARED / "faces-raw.zip", size=64)
    assert data.count == 300 and data.checkup.found["sizes"]["350x350"] == 150 and not data.checkup.unreadable

"""The cache: two processes, kill -9, damage, a full disk, a folder that cannot be written; memory stays flat."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mulligan.core.errors import UserError
from mulligan.data import cache, open_data

ROOT = Path(__file__).parent.parent


def npz(path: Path, count: int = 300, size: int = 8, seed: int = 0) -> Path:
    np.savez(path, images=np.random.default_rng(seed).integers(0, 256, (count, size, size), dtype=np.uint8))
    return path


def python(code: str, *args: object) -> subprocess.Popen:
    """The code, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def names(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_decoded_once_and_again_when_something_changes(tmp_path):
    calls: list[tuple[int, int]] = []
    path, root = npz(tmp_path / "x.npz"), tmp_path / "cache"

    def opened(**options):
        calls.clear()
        return open_data(path, cache=root, progress=lambda *done: calls.append(done), **options)

    first = opened()
    assert calls[-1] == (300, 300)
    assert opened().fingerprint == first.fingerprint and not calls
    assert opened(labels=False, max_bad=0.5).checkup == first.checkup and not calls
    assert opened(size=4).shape == (1, 4, 4) and calls
    npz(path, seed=1)
    assert opened().fingerprint != first.fingerprint and calls
    os.utime(path, ns=(1, 1))
    opened()
    assert calls


def test_a_file_of_a_folder_changes_and_keeps_its_size(tmp_path):
    path = tmp_path / "data" / "x.bmp"
    path.parent.mkdir()
    for grey in (10, 200):
        Image.new("L", (4, 4), grey).save(path)
        os.utime(path, ns=(grey, grey))
        assert (open_data(path.parent, cache=tmp_path / "cache").records([0]) == grey).all()


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path / "mine"))
    before = set(tmp_path.iterdir()) | {npz(tmp_path / "x.npz")}
    open_data(tmp_path / "x.npz")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "mine"}
    monkeypatch.delenv("MULLIGAN_CACHE")
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    assert cache.cache_root(None) == tmp_path / "mulligan"


@pytest.mark.parametrize("damage", ["pixels.u8", "about.json", "heldout.npy", "cut", "json"])
def test_a_cache_that_somebody_damaged_is_made_anew(tmp_path, damage):
    path, root = npz(tmp_path / "x.npz"), tmp_path / "cache"
    first = open_data(path, cache=root)
    (folder,) = (at for at in root.iterdir() if at.is_dir())
    match damage:
        case "cut":
            os.truncate(folder / "pixels.u8", 100)
        case "json":
            (folder / "about.json").write_text('{"checkup": {')
        case _:
            (folder / damage).unlink()
    again = open_data(path, cache=root)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.records(range(300)), np.load(path)["images"][:, None])


def test_cut_short_while_in_use(tmp_path):
    data = open_data(npz(tmp_path / "x.npz"), cache=tmp_path / "cache")
    os.truncate(next((tmp_path / "cache").rglob("pixels.u8")), 100)
    with pytest.raises(OSError, match="cut short"):
        data.records([200])


def test_two_processes_at_once_decode_once(tmp_path):
    path, ready = npz(tmp_path / "x.npz", count=3000, size=64), tmp_path / "ready"
    ready.mkdir()
    code = """
        import sys, time, pathlib
        from mulligan.data import open_data
        path, root, ready, me = sys.argv[1:]
        (pathlib.Path(ready) / me).touch()
        while len(list(pathlib.Path(ready).iterdir())) < 2:
            time.sleep(0.01)
        calls = []
        data = open_data(path, cache=pathlib.Path(root), progress=lambda *done: (calls.append(done), time.sleep(0.1)))
        print(data.fingerprint, len(calls) > 0, int(data.records(range(3000)).sum()))
    """
    both = [python(code, path, tmp_path / "cache", ready, me) for me in "ab"]
    said = [process.communicate(timeout=60)[0].split() for process in both]
    assert said[0][0] == said[1][0] and sorted(at[1] for at in said) == ["False", "True"]
    assert int(said[0][2]) == int(said[1][2]) == np.load(path)["images"].sum(dtype=np.int64)
    assert names(tmp_path / "cache") == {"", ".lock"}


def test_kill_half_way(tmp_path):
    path, root = npz(tmp_path / "x.npz", count=3000, size=64), tmp_path / "cache"
    code = """
        import sys, time, pathlib
        from mulligan.data import open_data
        def stop(done, total):
            if 2 * done > total:
                print("half", flush=True)
                time.sleep(60)
        open_data(sys.argv[1], cache=pathlib.Path(sys.argv[2]), progress=stop)
    """
    killed = python(code, path, root)
    assert killed.stdout.readline() == "half\n"
    other = open_data(npz(tmp_path / "y.npz"), cache=root)
    assert other.count == 300 and ".draft" in names(root)  # a living process keeps its draft
    killed.kill()
    killed.wait()
    open_data(npz(tmp_path / "z.npz"), cache=root)
    assert ".draft" not in names(root)  # a dead one's is swept by whoever comes next
    data = open_data(path, cache=root)
    assert np.array_equal(data.records(range(3000)), np.load(path)["images"][:, None])


def test_interrupted_half_way(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    path, root = npz(tmp_path / "x.npz"), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        open_data(path, cache=root, progress=stop)
    assert names(root) == {".lock"} and open_data(path, cache=root).count == 300


def test_a_cache_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/cache: cannot write the data cache .* MULLIGAN_CACHE"):
        open_data(npz(tmp_path / "x.npz"), cache=tmp_path / "file" / "cache")


def test_a_read_only_cache(tmp_path):
    path, root = npz(tmp_path / "x.npz"), tmp_path / "cache"
    open_data(path, cache=root)
    root.chmod(0o500)
    if os.access(root, os.W_OK):
        pytest.skip("this user may write everywhere")
    try:
        assert open_data(path, cache=root).count == 300  # what is there is used
        with pytest.raises(UserError, match=r"cannot write the data cache \(permission denied\); set MULLIGAN_CACHE"):
            open_data(path, cache=root, size=4)
    finally:
        root.chmod(0o700)


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    path, root = npz(tmp_path / "x.npz"), tmp_path / "cache"
    free = shutil.disk_usage(tmp_path)._replace(free=19_199)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda at: free)
    with pytest.raises(UserError, match=r"cache: .* take .* MB, and only .* MB are free; .*--size.*MULLIGAN_CACHE"):
        open_data(path, cache=root)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda at: free._replace(free=19_200))
    assert open_data(path, cache=root).count == 300


def test_a_disk_that_fills_up(tmp_path):
    path, root = npz(tmp_path / "x.npz", count=3000, size=16), tmp_path / "cache"
    resource = pytest.importorskip("resource", reason="POSIX limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # writing beyond fails, as on a full disk
    try:
        with pytest.raises(UserError, match="cannot write the data cache"):
            open_data(path, cache=root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(root) == {".lock"} and open_data(path, cache=root).count == 3000


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read the way of Linux")
def test_memory_is_flat(tmp_path):
    small, large = npz(tmp_path / "s.npz", 5_000, 28), npz(tmp_path / "l.npz", 100_000, 28)
    code = """
        import re, sys, pathlib, numpy as np
        from mulligan.data import open_data
        for path in sys.argv[2:]:
            data = open_data(path, cache=pathlib.Path(sys.argv[1]))
            order = np.random.default_rng(0).permutation(data.count)
            for start in range(0, data.count, 256):
                data.records(order[start:start + 256])
            peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
            print(int(peak[1]) / 1024)  # getrusage would give at least what our parent had when it started us
    """
    peaks = [float(line) for line in python(code, tmp_path / "cache", small, large).communicate(timeout=60)[0].split()]
    assert peaks[1] - peaks[0] < 40, peaks  # MB, of which the images alone would be 78


def test_reading_is_fast_enough(tmp_path):
    data = open_data(npz(tmp_path / "x.npz", 5_000, 28), cache=tmp_path / "cache")
    start = time.process_time()
    data.records(np.random.default_rng(0).permutation(5_000))
    assert time.process_time() - start < 0.5  # about 3 microseconds an image; this allows 100

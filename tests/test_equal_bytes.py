"""Equal seeds give equal bytes, also across versions: small runs against digests that an earlier version recorded.

`data/equal_bytes.json` was written by the code of the commit that it names, before samples and conditions had types
of their own. Digests hold for one torch on one kind of CPU; elsewhere the losses of the first steps are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import mulligan as mg

RECORD = json.loads((Path(__file__).parent / "data" / "equal_bytes.json").read_text())
HERE = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "threads": 1}
COMPARABLE = {key: RECORD["recorded"][key] for key in HERE} == HERE


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of 24 coloured pictures: plain ones, dark ones, and pairs of both."""
    root = tmp_path_factory.mktemp("pictures")
    for name in ("plain", "dark", "pairs/a", "pairs/b"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = np.kron(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
        dark = 255 - np.roll(pixels, 5, 0)
        for name, picture in (("plain", pixels), ("dark", dark), ("pairs/b", pixels), ("pairs/a", 255 - pixels)):
            Image.fromarray(picture).save(root / name / f"{i:03}.png")
    return root


def digest(tensors: Iterable[Tensor]) -> str:
    """The same for the same tensors, whatever they are called."""
    each = sorted(
        hashlib.blake2b(tensor.contiguous().numpy().tobytes(), digest_size=8).hexdigest() for tensor in tensors
    )
    return hashlib.blake2b("".join(each).encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize("name", RECORD["cases"])
def test_a_run_gives_the_bytes_it_gave_before(name: str, pictures: Path, tmp_path: Path) -> None:
    case = RECORD["cases"][name]
    data, other = (
        where if where is None or where in ("digits", "grid") else pictures / where
        for where in (case["data"], case.get("other"))
    )
    run = mg.train(
        data, other, recipe=case.get("recipe"), settings=case["settings"], samples=case["samples"], seed=0,
        device="cpu", out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    losses = [[row["d/adversarial"], row["g/adversarial"]] for row in run.folder.rows("progress")]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-2, atol=1e-3)
    if not COMPARABLE:
        pytest.skip(f"losses agree; digests are of {RECORD['recorded']}, this is {HERE}")
    last = sorted(run.folder.checkpoints.glob("step-*.safetensors"))[-1]
    assert digest(load_file(last).values()) == case["weights"]
    assert digest([run.sample(8, seed=1)]) == case["drawn"]

"""What the documents promise, done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
TRAINED = """
import math, sys, torch
import mulligan as mg
sys.path.insert(0, ".")
import {module}
from mulligan.core.registry import losses

run = mg.train("digits", recipe="{recipe}", out="run", images=16, settings={{"batch": 8}}, quiet=True)
assert run.sample(2).shape == (2, 1, 28, 28) and run.recipe.parent == "dcgan"
loss, (real, fake) = losses["softmax"](), torch.tensor([[1.0, 3.0], [0.0, 2.0]])
total = math.log(sum(map(math.exp, (0, 1, 2, 3))))
assert torch.allclose(loss.d(real, fake).mean(), torch.tensor(total - 2))
assert torch.allclose(loss.g(real, fake).mean(), torch.tensor(total - 1.5))
"""


def test_a_gan_is_added_by_one_file(tmp_path: Path) -> None:
    text = (DOCS / "add_a_gan.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "softmax_gan.py").write_text(code)
    done = subprocess.run(  # of its own: what it registers must not stay
        [sys.executable, "-c", TRAINED.format(module="softmax_gan", recipe="softmax-gan")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

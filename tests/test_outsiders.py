"""Parts that stand outside of the package: in files and modules of users' own, and in installed packages."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mulligan.cli import cli
from mulligan.core.errors import UserError
from mulligan.core.registry import EVERY, losses, recipes
from mulligan.runs import parts

RECIPE = '''"""A GAN of somebody's own."""

import torch

from mulligan.kit import Loss, Part, derived, losses, recipes


@losses.register("softmax")
def softmax(
    *,
    sharpness: float = 1.0,  # of the softmax
) -> Loss:
    """One softmax over a batch."""

    def total(real, fake):
        return torch.cat([sharpness * real, sharpness * fake]).logsumexp(0)

    return Loss(
        d=lambda real, fake: total(real, fake) - sharpness * real,
        g=lambda real, fake: total(real, fake) - 0.5 * sharpness * (real + fake),
        g_sees_real=True,
    )


@recipes.register("softmax-gan")
def softmax_gan():
    """Of digits' networks."""
    return derived(recipes["digits"](), name="softmax-gan", loss=Part("softmax"))
'''
LOSS = '''
from mulligan.core.registry import losses
from mulligan.core.step import Loss


@losses.register("{name}")
def made() -> Loss:
    """Of one line."""
    return Loss(d=lambda real, fake: fake - real, g=lambda fake: -fake)
'''


@pytest.fixture(autouse=True)
def new_process(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Forgets what a test has brought in so far, as if another process went on; and at its end."""
    parts.load_parts()
    path, known, asked = list(sys.path), dict(parts._known), set(parts._asked)
    registered = [(each, dict(each._parts), dict(each._declared)) for each in EVERY]

    def forget() -> None:
        for each, named, declared in registered:
            each._parts, each._declared = dict(named), dict(declared)
        for now, before in ((parts._known, known), (parts._asked, asked)):
            now.clear()
            now.update(before)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
                del sys.modules[name]
        sys.path[:] = path
        importlib.invalidate_caches()
        parts.load_parts.cache_clear()

    yield forget
    forget()


def file_of(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def mulligan(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """A verb in another process."""
    order = [sys.executable, "-m", "mulligan", *map(str, words)]
    env = {**os.environ, **environment}
    return subprocess.run(order, cwd=cwd, capture_output=True, text=True, timeout=300, env=env)


def printed(*words: str | Path) -> str:
    """What a verb prints, in this process. Raises what it raises."""
    done = CliRunner().invoke(cli, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def one_line(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_run_knows_the_file_of_its_parts(tmp_path: Path) -> None:
    """Trained in one process, sampled in others: with the file in its place, gone, moved, renamed, and changed."""
    file = file_of(tmp_path, "my_gan.py", RECIPE)
    order = ["train", "digits", "--recipe", "softmax-gan", "--samples", 32, "--set", "batch=8", "--out", "run"]
    assert "softmax-gan" in one_line(mulligan(*order, "--quiet", cwd=tmp_path)), "without its file it is unknown"
    done = mulligan(*order, "--quiet", "--with", "my_gan.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (known,) = json.loads((tmp_path / "run" / "run.json").read_text())["parts"]
    assert known == {"module": "mulligan_outside.my_gan", "path": str(file), "digest": known["digest"]}

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sample = ["sample", tmp_path / "run", "-n", 4, "--out", tmp_path / "s.png"]
    done = mulligan(*sample, cwd=elsewhere)
    assert done.returncode == 0 and not done.stderr, done.stderr
    (tmp_path / "s.png").unlink()

    shutil.move(file, elsewhere)
    said = one_line(mulligan(*sample, cwd=tmp_path))
    for words in ("run was trained with parts of my_gan.py", f"not at {file} any more", "--with PATH_OF_IT"):
        assert words in said
    done = mulligan(*sample, "--with", elsewhere / "my_gan.py", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "s.png").exists() and not done.stderr, done.stderr

    (tmp_path / "s.png").unlink()
    renamed = shutil.copy(elsewhere / "my_gan.py", elsewhere / "renamed.py")
    done = mulligan(*sample, "--with", renamed, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "s.png").exists() and not done.stderr, done.stderr

    file_of(tmp_path, "my_gan.py", RECIPE + "\n# another line\n")
    done = mulligan(*sample, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "is not the same as when" in done.stderr


def test_a_run_folder_of_a_stranger_runs_no_code(tmp_path: Path) -> None:
    """What run.json names is imported by itself only where the user brought it before; else it has to be named."""
    file = file_of(tmp_path, "my_gan.py", RECIPE + "\nprint('code ran')\n")
    order = ["train", "digits", "--recipe", "softmax-gan", "--samples", 32, "--set", "batch=8", "--out", "run"]
    assert mulligan(*order, "--quiet", "--with", "my_gan.py", cwd=tmp_path).returncode == 0
    sample = ["sample", "run", "-n", 4, "--out", "s.png"]
    stranger = {"MULLIGAN_CACHE": str(tmp_path / "another machine")}
    done = mulligan(*sample, cwd=tmp_path, **stranger)
    assert "not used on this machine before" in one_line(done) and f"--with {file}" in done.stderr
    assert "code ran" not in done.stdout
    assert mulligan(*sample, "--with", "my_gan.py", cwd=tmp_path, **stranger).returncode == 0
    assert mulligan(*sample, cwd=tmp_path, **stranger).returncode == 0, "it is known from now on"


def test_verbs_that_show_recipes_and_parts_take_a_file(tmp_path: Path) -> None:
    file = file_of(tmp_path, "my_gan.py", RECIPE)
    assert "softmax" in printed("zoo", "softmax-gan", "--with", file)
    assert "of the softmax" in printed("parts", "loss", "softmax", "--with", file)
    file_of(tmp_path, "my_gan.py", RECIPE + "\ndef")
    with pytest.raises(UserError, match=rf"my_gan\.py, line {len(RECIPE.splitlines()) + 2}: SyntaxError"):
        printed("zoo", "softmax-gan", "--with", file)
    with pytest.raises(UserError, match=r"no_gan\.py: no such file"):
        printed("zoo", "--with", "no_gan.py")


def test_python_uses_a_file_too(tmp_path: Path) -> None:
    import mulligan as mg

    file = file_of(tmp_path, "my_gan.py", RECIPE)
    mg.use(file)
    assert recipes["softmax-gan"]().loss.name == "softmax" and "softmax" in losses
    run = mg.train("digits", recipe="softmax-gan", out=tmp_path / "run", samples=16, settings={"batch": 8}, quiet=True)
    assert run.sample(2).shape == (2, 1, 28, 28)
    assert [each["path"] for each in run.description["parts"]] == [str(file)]


def test_a_file_is_imported_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = file_of(tmp_path, "my-gan.v2.py", LOSS.format(name="one"))
    parts.use(file)
    made = losses["one"]
    (known,) = parts.outside()
    assert made.__module__ == known["module"] == "mulligan_outside.my_gan_v2" and known["path"] == str(file)
    parts.use(str(file), file)
    assert losses["one"] is made and parts.outside() == [known]
    file.write_text(LOSS.format(name="two"))
    parts.use(file)
    assert "two" in losses and "one" not in losses
    (now,) = parts.outside()
    assert now["module"] == known["module"] and now["digest"] != known["digest"]
    assert not list(tmp_path.rglob("*.pyc")), "nothing is left beside it"


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    files = [file_of(tmp_path / name, "mine.py", LOSS.format(name=name)) for name in ("left", "right")]
    parts.use(*files)
    assert losses["left"].__module__ != losses["right"].__module__
    assert [each["path"] for each in parts.outside()] == list(map(str, files))
    parts.use(*files)
    assert len(parts.outside()) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "line 2: SyntaxError: invalid syntax"),
        ("\nimport no_such_module\n", "line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: Expecting"),
        (LOSS.format(name="hinge"), "line 6: loss 'hinge' is registered twice"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("raise ValueError('of\\n two lines')", "line 1: ValueError: of two lines"),
    ],
    ids=lambda text: text.splitlines()[-1],
)
def test_an_error_in_a_file_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    before = losses["hinge"]
    file = file_of(tmp_path, "mine.py", text)
    with pytest.raises(UserError) as raised:
        parts.use(file)
    assert str(raised.value).startswith(f"{file}, {said}"), raised.value
    assert "\n" not in str(raised.value)
    assert losses["hinge"] is before and not parts.outside()


def test_what_broke_off_can_be_mended_and_tried_again(tmp_path: Path) -> None:
    file = file_of(tmp_path, "mine.py", LOSS.format(name="mine") + "\n1 / 0")
    with pytest.raises(UserError, match="line 11: ZeroDivisionError"):
        parts.use(file)
    assert "mine" not in losses
    file.write_text(LOSS.format(name="mine"))
    parts.use(file)
    assert "mine" in losses


def test_modules_are_used_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(tmp_path / "some_package", "own.py", LOSS.format(name="of-module"))
    file_of(tmp_path / "some_package", "__init__.py", "")
    monkeypatch.chdir(tmp_path)
    parts.use("some_package.own")
    assert "of-module" in losses
    (known,) = parts.outside()
    assert known["module"] == "some_package.own" and known["path"] == str(file)
    with pytest.raises(UserError, match=r"some_package\.other: there is neither a module nor"):
        parts.use("some_package.other")
    file_of(tmp_path / "some_package", "broken.py", "import no_such_module")
    with pytest.raises(UserError, match=r"broken\.py, line 1: ModuleNotFoundError"):
        parts.use("some_package.broken")


def test_a_run_depends_on_what_was_named_and_on_what_its_recipe_needs(tmp_path: Path) -> None:
    sys.path.append(str(tmp_path))
    for name in ("plain_one", "plain_two"):
        file_of(tmp_path, f"{name}.py", LOSS.format(name=name.replace("_", "-")))
        __import__(name)  # without `use`
    parts.use(file_of(tmp_path / "other", "asked.py", LOSS.format(name="asked")))
    recipe = recipes["dcgan"]()

    def known(*asked: Any) -> list[str]:
        return sorted(each["module"] for each in parts.outside(*asked))

    assert known() == ["mulligan_outside.asked", "plain_one", "plain_two"]
    assert known(recipe) == ["mulligan_outside.asked"]
    assert known(recipe.with_set({"loss": "plain-two"})) == ["mulligan_outside.asked", "plain_two"]
    assert known(recipe, ["plain-one"]) == ["mulligan_outside.asked", "plain_one"]


def brought(known: list[dict[str, str]], *used: Path) -> list[str]:
    """The losses from outside that are there once a run was opened."""
    parts.use(*used)
    parts.bring(known, "some/run")
    return [name for name in losses if losses[name].__module__.partition(".")[0] != "mulligan"]


def test_two_files_of_one_name_are_brought_again(
    tmp_path: Path, new_process: Callable[[], None], capfd: pytest.CaptureFixture
) -> None:
    files = [file_of(tmp_path / name, "mine.py", LOSS.format(name=name)) for name in ("left", "right")]
    parts.use(*files)
    known = parts.outside()
    new_process()
    assert brought(known) == ["left", "right"]
    new_process()
    moved = Path(shutil.move(files[1], file_of(tmp_path / "new", "mine.py", "")))
    with pytest.raises(UserError, match=r"some/run was trained with parts of mine\.py, which is not at .*right"):
        brought(known)
    new_process()
    assert brought(known, moved) == ["left", "right"]
    new_process()
    assert not capfd.readouterr().err
    moved.write_text(LOSS.format(name="changed"))
    assert brought(known, moved) == ["changed", "left"]
    assert f"{moved} is not the same as when some/run was trained" in capfd.readouterr().err


def test_modules_are_brought_again_from_any_folder_or_as_files(
    tmp_path: Path, new_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    file = file_of(tmp_path / "home" / "some_package", "own.py", LOSS.format(name="of-module"))
    monkeypatch.chdir(tmp_path / "home")
    parts.use("some_package.own")
    known = parts.outside()
    new_process()
    monkeypatch.chdir(tmp_path)
    assert brought(known) == ["of-module"]
    new_process()
    moved = Path(shutil.move(file, tmp_path))
    with pytest.raises(UserError, match=r"parts of some_package\.own, which cannot be imported.* --with PATH_OF_IT"):
        brought(known)
    new_process()
    assert brought(known, moved) == ["of-module"]
    assert not capfd.readouterr().err


def test_parts_of_a_script_are_known_but_scripts_are_not_run_again(
    tmp_path: Path, new_process: Callable[[], None]
) -> None:
    show = "\nfrom mulligan.runs.parts import outside\nimport json\nprint(json.dumps(outside()))\n"
    script = file_of(tmp_path, "script.py", LOSS.format(name="of-script") + show)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    known = json.loads(done.stdout)
    assert [(each["module"], each["path"]) for each in known] == [("__main__", str(script))]
    with pytest.raises(UserError, match=r"parts of script\.py, a script; put them into a file of their own"):
        brought(known)
    own = file_of(tmp_path, "own.py", LOSS.format(name="of-script"))
    assert brought(known, own) == ["of-script"]


def installed(folder: Path, text: str) -> None:
    """A package that offers parts, as pip would have installed it."""
    file_of(folder / "acme_gans", "parts.py", text)
    file_of(folder / "acme_gans", "__init__.py", "")
    info = folder / "acme_gans-1.0.dist-info"
    file_of(info, "METADATA", "Metadata-Version: 2.1\nName: acme-gans\nVersion: 1.0\n")
    file_of(info, "entry_points.txt", "[mulligan.parts]\nacme = acme_gans.parts\n")


def test_an_installed_package_offers_parts(tmp_path: Path, new_process: Callable[[], None]) -> None:
    new_process()
    sys.path.insert(0, str(tmp_path))
    installed(tmp_path, LOSS.format(name="acme"))
    assert "acme_gans.parts" in printed("parts", "loss", "acme")
    new_process()
    sys.path.insert(0, str(tmp_path))
    installed(tmp_path, LOSS.format(name="acme") + "\nimport no_such_module")
    broken = r"the package 'acme-gans' offers \(acme_gans\.parts\).*parts\.py, line 11: ModuleNotFoundError"
    with pytest.raises(UserError, match=broken):
        printed("parts", "loss", "acme")
    assert "acme" not in losses


def test_a_run_remembers_an_installed_package_only_if_it_needs_it(
    tmp_path: Path, new_process: Callable[[], None]
) -> None:
    import mulligan as mg

    new_process()
    site = tmp_path / "site"
    sys.path.insert(0, str(site))
    installed(site, LOSS.format(name="acme"))
    common = {"samples": 16, "quiet": True}
    mg.train("digits", out=tmp_path / "with", settings={"batch": 8, "loss": "acme"}, **common)
    mg.train("digits", out=tmp_path / "without", settings={"batch": 8}, **common)
    new_process()
    shutil.rmtree(site)
    assert mg.load(tmp_path / "without").description["parts"] == []
    needs = r"with was trained with parts of acme_gans\.parts, which cannot be imported.*; install it"
    with pytest.raises(UserError, match=needs):
        mg.load(tmp_path / "with")

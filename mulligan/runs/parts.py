"""Where parts come from: the package, installed packages that offer some, and files of users' own.

A run folder keeps which files and modules outside of the package its parts came from (`outside`), and opening it
imports them again (`bring`).
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from mulligan.core import catalogue
from mulligan.core.errors import UserError
from mulligan.core.recipe import Recipe
from mulligan.core.registry import EVERY
from mulligan.data.cache import cache_root

OWN_PACKAGES = ("terms", "models", "augment", "tasks", "zoo", "metrics", "kinds", "data", "measure")
OWN_MODULES = ("losses", "engine.optim")
GROUP = "mulligan.parts"  # of entry points: each names a module that registers parts when it is imported
OUTSIDE = "mulligan_outside"  # files of users' own are imported as modules below this name
HOME = Path(__file__).parents[1]


class Outside(NamedTuple):
    """A module that is no part of the package, and registered parts."""

    module: str
    path: str  # of its file; "" where it has none
    digest: str  # of the file's bytes


_known: dict[str, Outside] = {}  # by module
_asked: set[str] = set()  # those that the user named, by module


@functools.cache
def load_own_parts() -> None:
    """Import every module of the package that registers parts. A new file needs no entry anywhere."""
    for name in OWN_MODULES:
        importlib.import_module(f"mulligan.{name}")
    for name in OWN_PACKAGES:
        package = importlib.import_module(f"mulligan.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@functools.cache
def load_parts() -> None:
    """Import all that registers parts, so that names can be looked up: the package's own, then the entry points'.

    Raises UserError, naming the distribution, for an entry point that cannot be imported.
    """
    load_own_parts()
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        try:
            importlib.import_module(entry.module)
        except (Exception, SystemExit) as error:
            _forget(entry.module)
            whose = f"package {entry.dist.name!r}" if entry.dist else f"entry point {entry.name!r}"
            raise UserError(
                f"the parts that the {whose} offers ({entry.module}) cannot be imported: {_why(error)}; "
                "update or uninstall it"
            ) from error
        _known[entry.module] = _record(entry.module)


def parts(kind: str | None = None, name: str | None = None) -> Any:
    """What a GAN can be made of, as JSON: every kind of part; the parts of one `kind`; the one called `name`.

    Each part comes with its options: name, type, default, what it does, and how it is typed. Raises UserError, with
    the nearest names, for an unknown one.
    """
    load_parts()
    if kind is None:
        return catalogue.all_kinds()
    of_kind = catalogue.registry_named(kind)
    return [catalogue.facts(of_kind, each) for each in of_kind] if name is None else catalogue.facts(of_kind, name)


def use(*files_or_modules: str | Path) -> None:
    """Import parts of your own: `use("my_gan.py")`, `use("my_package.parts")`. What is known already stays as it is.

    A file that has changed since is imported again, and its parts take the place of the old ones. Raises UserError,
    naming file and line, for what cannot be imported.
    """
    load_parts()
    for each in files_or_modules:
        found = _use_file(Path(each).expanduser()) if _is_file(each) else _use_module(str(each))
        _asked.add(found.module)
        remember([found._asdict()])


def outside(recipe: Recipe | None = None, others: Iterable[str] = ()) -> list[dict[str, str]]:
    """Every module outside of the package that registered parts, as `{"module": ..., "path": ..., "digest": ...}`.

    With a recipe: those that the user named, and those from which parts of the recipe come or parts named in `others`
    (feature net, reader, kind of sample). So a run does not depend on what else is installed.
    """
    found = {module: each for module, each in _everyone().items() if recipe is None or module in _asked}
    if recipe is not None:
        wanted = {*_named(recipe), *others}
        found |= {module: _everyone()[module] for module, name in _registered() if name in wanted}
    return [each._asdict() for each in found.values()]


def remember(modules: Iterable[Mapping[str, str]]) -> None:
    """Note, in the cache, that the user of this machine ran this code: run folders may then have it imported again.

    A run folder is data, also one that a stranger sent. It names code, but only what was noted here runs by itself.
    """
    folder = cache_root(None) / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    for each in modules:
        for key in _keys(Outside(**each)):
            (folder / key).touch()


def _remembered(wanted: Outside) -> bool:
    now = _digest(Path(wanted.path).read_bytes()) if wanted.path and Path(wanted.path).is_file() else ""
    return any((cache_root(None) / "parts" / key).exists() for key in _keys(wanted._replace(digest=now)))


def _keys(outside: Outside) -> list[str]:
    """By where it lies, and by its content; by its name where it has no file."""
    named = [outside.digest, f"at {outside.path}" if outside.path else f"module {outside.module}"]
    return [_digest(each.encode()) for each in named if each]


def bring(modules: Sequence[Mapping[str, str]], run: str | Path = "the run") -> None:
    """Import again what a run was trained with: what `outside` gave then. `run` is named in what is said.

    A file that the user brought by `use` counts as one of the same content, wherever it lies and whatever its name;
    where there is none of that content, also as one of the same name. Warns in one line on stderr where the content is
    another. Raises UserError for what is not there any more.
    """
    load_parts()
    known = [Outside(each["module"], each["path"], each["digest"]) for each in modules]
    for wanted in known:
        here = _standing_for(wanted, known) or _imported_again(wanted, run)
        if here.digest != wanted.digest:
            where = here.path or here.module
            said = f"mulligan: {where} is not the same as when {run} was trained; it is used as it is now"
            print(said, file=sys.stderr)


def _standing_for(wanted: Outside, among: Sequence[Outside]) -> Outside | None:
    """What is imported already and is what a run was trained with, or stands in for it."""
    here = list(_everyone().values())
    same = [each for each in here if _same(each, wanted)]
    if same or (Path(wanted.path).is_file() and sum(_stem(each) == _stem(wanted) for each in among) > 1):
        return same[0] if same else None
    for each in here:
        alike = wanted.module == "__main__" or _stem(each) == _stem(wanted) != ""
        if alike and each.module in _asked and not any(_same(each, another) for another in among):
            return each
    return None


def _same(here: Outside, wanted: Outside) -> bool:
    if here.path and here.path == wanted.path:
        return True
    if here.module == wanted.module and not _is_own_file(wanted):
        return True
    return bool(here.digest) and here.digest == wanted.digest


def _imported_again(wanted: Outside, run: str | Path) -> Outside:
    path = Path(wanted.path)
    there = bool(wanted.path) and path.is_file()
    named = path.name if _is_own_file(wanted) or wanted.module == "__main__" else wanted.module
    begins = f"{run} was trained with parts of {named or wanted.module}"
    if wanted.module == "__main__":
        where = "a script" if wanted.path else "a notebook or a prompt"
        raise UserError(f"{begins}, {where}; put them into a file of their own, and bring it with --with FILE.py")
    if not _remembered(wanted) and (there or not wanted.path):
        raise UserError(
            f"{begins} ({path if there else wanted.module}), code that was not used on this machine before; if you "
            f"trust it, bring it with --with {path if there else wanted.module}"
        )
    if not _is_own_file(wanted):
        if there:  # so that it is found from any folder
            _find_in(path.parents[wanted.module.count(".") + (path.name == "__init__.py")])
        try:
            return _use_module(wanted.module)
        except UserError as error:
            if not there or not isinstance(error.__cause__, ModuleNotFoundError):
                raise UserError(
                    f"{begins}, which cannot be imported ({error}); install it, or bring it with --with PATH_OF_IT"
                ) from error
    if not there:
        raise UserError(f"{begins}, which is not at {path} any more; bring it back with --with PATH_OF_IT")
    return _use_file(path)


def _is_file(name: str | Path) -> bool:
    return isinstance(name, Path) or not re.fullmatch(r"\w+(\.\w+)*", name) or name.endswith(".py")


def _is_own_file(outside: Outside) -> bool:
    return outside.module.startswith(f"{OUTSIDE}.")


def _stem(outside: Outside) -> str:
    path = Path(outside.path)
    return path.parent.name if path.name == "__init__.py" else path.stem


def _use_file(path: Path) -> Outside:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{path}: no such file; parts of your own are brought as a .py file or as a module")
    where, content = path.resolve(), path.read_bytes()
    digest = _digest(content)
    known = next((each for each in _everyone().values() if each.path == str(where)), None)
    if known and (known.digest == digest or not _is_own_file(known)):
        return known
    name = known.module if known else _module_name(where)
    _forget(name)  # what it registered when it was another
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, where))
    _find_in(where.parent)
    sys.modules[name] = module
    try:
        exec(compile(content, where, "exec"), module.__dict__)  # not by the loader, whose cached code may be older
    except (Exception, SystemExit) as error:
        _forget(name)
        del sys.modules[name]
        _known.pop(name, None)
        raise UserError(_why(error, path)) from error
    _known[name] = Outside(name, str(where), digest)
    return _known[name]


def _module_name(where: Path) -> str:
    """`mulligan_outside.my_gan`; longer where another file has that name."""
    name = f"{OUTSIDE}.{re.sub(r'[^0-9A-Za-z_]', '_', where.stem)}"
    return f"{name}_{_digest(str(where).encode())[:8]}" if name in _known else name


def _use_module(name: str) -> Outside:
    if name not in _everyone():
        _find_in(Path.cwd())
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            _forget(name)
            if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
                raise UserError(f"{name}: there is neither a module nor a .py file of that name") from error
            raise UserError(f"{name}: {_why(error)}") from error
        if getattr(sys.modules[name], "__file__", None) is None:
            raise UserError(
                f"{name}: is a folder, not a module; bring the .py file in it, such as --with {name}/my_gan.py"
            )
        _known[name] = _record(name)
    return _everyone()[name]


def _find_in(folder: Path) -> None:
    """Modules of this folder can be imported, too, as when a script of it runs; but those of other folders go first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _everyone() -> dict[str, Outside]:
    """All modules outside of the package that are known or that registered a part, as by a plain import."""
    for module, _ in _registered():
        if module not in _known:
            _known[module] = _record(module)
    return dict(_known)


def _registered() -> Iterator[tuple[str, str]]:
    """(module, name) of every registered part that is not the package's own."""
    for registry in EVERY:
        for name in registry:
            module = registry[name].__module__
            if module.partition(".")[0] != "mulligan":
                yield module, name


def _named(recipe: Recipe) -> set[str]:
    """Names of the parts of a recipe."""
    pair = recipe.optimizer
    named = (
        recipe.generator, recipe.discriminator, recipe.loss, recipe.augment, recipe.task, pair.generator,
        pair.discriminator,
    )  # fmt: skip
    return {*recipe.terms, *(part.name for part in named)}


def _record(module: str) -> Outside:
    file = getattr(sys.modules.get(module), "__file__", None)
    where = Path(file).resolve() if file else None
    there = where is not None and where.is_file()
    return Outside(module, str(where or ""), _digest(where.read_bytes()) if there else "")


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _forget(module: str) -> None:
    """Drop the parts that a module registered: it broke off, or is imported again."""
    for registry in EVERY:
        registry.forget(module)


def _why(error: BaseException, path: Path | None = None) -> str:
    """An error in somebody's module, in one line that names file and line; `path` is how the user named the file."""
    what = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        file, line, what = error.filename, error.lineno, error.msg
    else:
        frames = [(each.filename, each.lineno) for each in traceback.extract_tb(error.__traceback__)]
        ours = (HOME, Path(importlib.__file__).parent)
        frames = [(file, line) for file, line in frames if not file.startswith("<") and not _in(file, *ours)]
        theirs = [each for each in frames if _in(each[0], Path(frames[0][0]).parent, but="site-packages")]
        file, line = theirs[-1] if theirs else ("", 0)
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    name = path if path and Path(file) == path.resolve() else file
    return f"{name}, line {line}: {kind}{what}" if file else f"{kind}{what}"


def _in(file: str, *folders: Path, but: str = "") -> bool:
    """Whether a file lies in one of these folders, and not in one named `but` within it."""
    path = Path(file)
    return any(folder in path.parents and but not in path.relative_to(folder).parts for folder in folders)

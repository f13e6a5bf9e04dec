"""What a user did wrong, in one line that names the thing and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Input that cannot be used as given. The command line prints its one line and exits with 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """`unknown generator 'dcgam': did you mean 'dcgan'? (choose from ...)`, nearest names first."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.6)
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return UserError(f"unknown {kind} {name!r}{hint} valid: {', '.join(choices) or 'none'}")

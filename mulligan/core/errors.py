"""What a user did wrong, in one line that names the thing and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 420  # characters of valid names


class UserError(ValueError):
    """Input that cannot be used as given. The command line prints its one line and exits with 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """`unknown generator 'dcgam': did you mean 'dcgan'? (choose from ...)`, nearest names first."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.6)
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ";"
    valid_names, left = ", ".join(choices), 0
    if len(valid_names) > LONGEST:  # those least like it are left out
        alike = difflib.get_close_matches(name, choices, n=len(choices), cutoff=0.0)
        while len(valid_names := ", ".join(sorted(alike))) > LONGEST:
            alike.pop()
        left = len(choices) - len(alike)
    more = f", and {left} more" if left else ""
    return UserError(f"unknown {kind} {name!r}{hint} valid: {valid_names or 'none'}{more}")

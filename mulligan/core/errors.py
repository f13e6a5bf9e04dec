"""User errors: one line that names the problem and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 420  # characters of the list of valid names


class UserError(ValueError):
    """Input that cannot be used as given. The command line prints its one line and exits with 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """`unknown generator 'dcgam': did you mean 'dcgan'? valid: ...`"""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.6)
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ";"
    valid_names, omitted = ", ".join(choices), 0
    if len(valid_names) > LONGEST:  # the least similar names are omitted
        similar = difflib.get_close_matches(name, choices, n=len(choices), cutoff=0.0)
        while len(valid_names := ", ".join(sorted(similar))) > LONGEST:
            similar.pop()
        omitted = len(choices) - len(similar)
    more = f", and {omitted} more" if omitted else ""
    return UserError(f"unknown {kind} {name!r}{hint} valid: {valid_names or 'none'}{more}")

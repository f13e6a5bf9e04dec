"""The command line: it parses arguments, calls the api, and prints. The api imports torch only when a command runs.

Exit codes: 0 done, 1 the training failed and could not be repaired, 2 an error that the user can correct (one line on
stderr), 130 interrupted and saved.
"""

from __future__ import annotations

import sys

import click

from mulligan.cli.applying import apply
from mulligan.cli.browsing import completion, parts, zoo
from mulligan.cli.judging import compare, evaluate, study
from mulligan.cli.latent import edit, invert
from mulligan.cli.training import diagnose, inspect, train
from mulligan.cli.using import sample
from mulligan.cli.words import INTERRUPTED, OK, USER_ERROR, brings_parts
from mulligan.core.errors import UserError
from mulligan.core.version import __version__


def main() -> None:
    """Run the command line. A user error becomes one line and exit code 2, never a traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = _complain("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        code = _complain("interrupted", INTERRUPTED)
    except click.ClickException as error:
        code = _complain(error.format_message())
    except UserError as error:
        code = _complain(str(error))
    except BrokenPipeError:
        code = OK  # the reader of our output has closed it
    except OSError as error:
        code = _complain(f"{error.filename or 'input/output'}: {error.strerror or error}")
    sys.exit(code or OK)


def _complain(text: str, code: int = USER_ERROR) -> int:
    print(f"mulligan: {' '.join(text.split())}", file=sys.stderr)
    return code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="mulligan")
def cli() -> None:
    """Train and use generative adversarial networks.

    Begin with:  mulligan train digits --minutes 5
    """


for verb in (train, sample, apply, invert, edit, evaluate, compare, study, diagnose, inspect, zoo, parts):
    cli.add_command(brings_parts(verb))
cli.add_command(completion)

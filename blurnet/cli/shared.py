"""What the two command lines share: one-line errors, quiet warnings, commands fit for print."""

import shlex
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import DefaultHelpFormatter


class HelpText(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the description."""


@contextmanager
def own_arguments(arguments: list[str]) -> Iterator[None]:
    """Set ``sys.argv``: Lightning parses it, warns of anything else, and processes that it launches repeat it."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn what the guards raise before any work into one line on stderr and exit status 2."""
    try:
        yield
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"{program}: error: {message}", file=sys.stderr)
        raise SystemExit(2) from error


def public_command(program: str, arguments: Sequence[str]) -> str:
    """The command for a card or a report: absolute paths cut to their last part, nothing about resuming."""
    kept = [text for text in arguments if text not in ("--resume", "--overwrite")]
    return shlex.join(["python", program, *map(_shorten, kept)])


def _shorten(text: str) -> str:
    option, sign, value = text.partition("=") if text.startswith("--") else ("", "", text)
    name, colon, root = value.partition(":")
    if Path(value).is_absolute():
        value = Path(value).name
    elif Path(root).is_absolute():
        value = f"{name}{colon}{Path(root).name}"
    return option + sign + value

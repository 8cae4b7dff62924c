"""How commands end: on Ctrl-C without a word, and if nobody takes their output, with a sentence."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from factory.output import discard_output, replace_closed
from factory.signals import FORCED

_UNWRITTEN = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT}


class Printing(click.Group):
    """A group of commands that end with 1 and a sentence when a disk is full, and with 130 on Ctrl-C.

    Commands that go on until they are stopped catch Ctrl-C themselves.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; see ``click``."""
        replace_closed()
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            if exc.errno not in _UNWRITTEN:
                raise
            discard_output()
            with suppress(OSError, ValueError):
                click.echo(f"Error: the output cannot be written: {exc.strerror}", err=True)
            sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; see ``click``."""
        with _quiet():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Do what was asked for; see ``click``."""
        with _quiet():
            return super().invoke(ctx)


@contextmanager
def _quiet() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(FORCED)

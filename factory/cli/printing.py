"""A command whose output nobody takes says so in one sentence."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from typing import Any

import click

from factory.output import discard_output

_UNWRITTEN = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT}


class Printing(click.Group):
    """A group of commands that end with 1 and a sentence when a disk is full."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; see ``click``."""
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            if exc.errno not in _UNWRITTEN:
                raise
            discard_output()
            with suppress(OSError, ValueError):
                click.echo(f"Error: the output cannot be written: {exc.strerror}", err=True)
            sys.exit(1)

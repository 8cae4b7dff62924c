"""A command whose output nobody takes says so in one sentence."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any

import click

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
            # The interpreter flushes standard output once more at exit.
            with suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.close(nowhere)
            with suppress(OSError, ValueError):
                click.echo(f"Error: the output cannot be written: {exc.strerror}", err=True)
            sys.exit(1)

"""Errors of sketches: what a class or its arguments got wrong.

The tree, with the builtin that each one also is::

    FactoryError
      SketchError (TypeError)
      SketchNotFoundError (LookupError)
      HookError (RuntimeError)
        SetupError
      Nack
      Reject
      Close
"""

from __future__ import annotations


class FactoryError(Exception):
    """Base of every error that ``factory`` raises on purpose."""


class SketchError(FactoryError, TypeError):
    """A sketch class or the arguments of its ``setup()`` cannot work.

    Raised when the class is made or the sketch constructed, with the signature that
    was expected.
    """


class SketchNotFoundError(FactoryError, LookupError):
    """No sketch goes by that name, file or module."""


class HookError(FactoryError, RuntimeError):
    """``setup()`` or a start or stop hook of a sketch raised."""


class SetupError(HookError):
    """An ``async def setup()`` said with a ``ValueError`` that its arguments are wrong."""


class Nack(FactoryError):  # noqa: N818 - raised by handlers to say no, not because of an error
    """Raised in a handler: not now.

    Args:
        reason: Why, for the sender.
        retry_in: Seconds after which the message is to be handled again; meanwhile the
            sender's channel waits. ``None`` refuses it, which leaves the retry to the sender.

    """

    def __init__(self, reason: str = "", *, retry_in: float | None = None) -> None:
        super().__init__(reason)
        if retry_in is not None and not 0 <= retry_in < float("inf"):
            raise ValueError(f"retry_in must be seconds from 0 on, got {retry_in!r}")
        self.retry_in = retry_in


class Reject(FactoryError):  # noqa: N818 - as Nack
    """Raised in a handler: never. The message is refused for good, whatever is tried."""


class Close(FactoryError):  # noqa: N818 - as Nack
    """Raised in a handler: the message is handled, and the conversation with this plain client is over.

    A link goes on, for other channels and messages are on it: there the message is
    acknowledged with the answer, and that is all.

    Args:
        answer: The last answer; ``None`` for none at all.
        reason: Why it is over, for people.

    """

    def __init__(self, answer: object = None, reason: str = "") -> None:
        super().__init__(reason)
        self.answer = answer
        self.reason = reason

"""What can go wrong with pins and boards.

The tree, with the builtin that each one also is::

    FactoryError
      PinError
        UnknownPinError (LookupError)
        PinInUseError (PermissionError)
        PinModeError (ValueError)
        PinUnsupportedError (NotImplementedError)
        PinValueError (ValueError)
      BoardError (ValueError)
      BoardLostError (ConnectionError)
"""

from __future__ import annotations

from factory.errors import FactoryError


class PinError(FactoryError):
    """A pin cannot do what was asked of it.

    Attributes:
        pin: The pin as people write it, such as ``uno.13``.

    """

    def __init__(self, message: str, pin: str) -> None:
        super().__init__(message)
        self.pin = pin


class UnknownPinError(PinError, LookupError):
    """The board has no pin of that name."""


class PinInUseError(PinError, PermissionError):
    """Somebody else owns the output.

    Attributes:
        owner: Who owns it.

    """

    def __init__(self, pin: str, owner: str) -> None:
        super().__init__(
            f"pin {pin} belongs to {owner}, who set it as an output; "
            f"wait until {owner} leaves, or write by force",
            pin,
        )
        self.owner = owner


class PinModeError(PinError, ValueError):
    """The pin is in a mode in which this cannot be done."""


class PinUnsupportedError(PinError, NotImplementedError):
    """The pin has not the hardware for it, whatever its mode."""


class PinValueError(PinError, ValueError):
    """The value is out of range."""


class BoardError(FactoryError, ValueError):
    """A board, a part or a wire is described in a way that cannot be built."""


class BoardLostError(FactoryError, ConnectionError):
    """The board is unplugged, or its connection is down."""

"""Whether the board at the other end of a line is still there.

Firmata has no heartbeat, and a board with nothing to report is as silent as one that hangs or
whose network cable was pulled. So one that says nothing for a while is asked what it was asked when
the line began, and has answered then; one that does not answer is lost.
"""

from __future__ import annotations


class Liveness:
    """Judges one board by when it was last heard.

    Args:
        now: The time in seconds.
        patience: Seconds of silence before it is asked, and again before it is given up.

    Attributes:
        gone: Why it is given up; ``None`` while it is not.

    """

    def __init__(self, now: float, patience: float) -> None:
        self.gone: str | None = None
        self._patience = patience
        self._asked = False
        self._due = now + patience

    def heard(self, now: float) -> None:
        """Take note that something came."""
        self._asked = False
        self._due = now + self._patience

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        return self._due

    def handle_timer(self, now: float) -> bool:
        """Return whether to ask it now."""
        if now < self._due:
            return False
        # Who was held up as long himself has not listened, and asks once more before he accuses.
        if self._asked and now < self._due + self._patience:
            self.gone = (
                f"it has not answered for {2 * self._patience:g} s; does it hang, or was a cable pulled?"
            )
            return False
        self._asked = True
        self._due = now + self._patience
        return True

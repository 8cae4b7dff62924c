"""Lesson 1: react to messages, and acknowledge with whatever you like."""

import sys

import factory


class Buzzer(factory.FactoryLoop):
    """Buzz on light changes."""

    def setup(self, sound: str = "buzz", bell: bool = False, board: str | None = None, pin: int = 3) -> None:
        """Choose how it sounds.

        Args:
            sound: What to answer when the signal is 1.
            bell: Ring the terminal's bell as well.
            board: A node that is a board, on one of whose pins it sounds as well.
            pin: That pin.

        """
        self.sound = sound
        self.bell = bell
        self.board = board
        self.pin = f"pin/{pin}/tone"

    @factory.reactive
    async def loop(self, channel: str, signal):  # type: ignore[no-untyped-def]
        """Answer a signal with the sound it makes."""
        behavior = self.sound if signal == "1" else "..."
        self.out(f"signal {signal} received -> {behavior}")
        if self.bell and signal == "1" and sys.stdout.isatty():
            print("\a", end="", flush=True)
        if self.board:
            await self.request(self.board, 440 if signal == "1" else 0, self.pin)
        await self.publish("sound", behavior)
        return behavior

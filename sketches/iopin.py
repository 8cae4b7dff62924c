"""Lesson 2: react to one node by streaming to another."""

from random import Random

import factory


class IOPin(factory.FactoryLoop):
    """Toggle a pin at random on every tick, and stream its bits to the buzzer."""

    def setup(
        self,
        chance: float = 0.5,
        sequence: int = 3,
        seed: int | None = None,
        board: str | None = None,
        pin: int = 13,
    ) -> None:
        """Choose how it toggles.

        Args:
            chance: Probability that a bit is 0, from 0 to 1.
            sequence: How many bits each tick makes.
            seed: Makes the bits the same in every run.
            board: A node that is a board, one of whose pins toggles as well.
            pin: That pin.

        """
        if not 0 <= chance <= 1:
            raise ValueError(f"chance is a probability from 0 to 1, got {chance}")
        if sequence < 1:
            raise ValueError(f"sequence must be at least 1, got {sequence}")
        self.chance = chance
        self.sequence = sequence
        self.random = Random(seed)
        self.board = board
        self.pin = f"pin/{pin}"

    @factory.reactive
    async def loop(self, channel: str, msg):  # type: ignore[no-untyped-def]
        """Toggle the pin and tell the buzzer."""
        self.out(f"new tick triggered on {channel}: {msg}")
        bits = [0 if self.random.random() < self.chance else 1 for _ in range(self.sequence)]
        self.out(f"toggling pin state: {bits}")
        if self.board:
            await self.stream(self.board, bits, self.pin, quiet=True)
        await self.stream("buzzer", bits)
        return "acknowledged"

"""Lesson 3: a rhythm of one's own, and a peer that may be late or leave."""

from math import inf

import factory
import mesh


class Clock(factory.FactoryLoop):
    """Tick at a steady rhythm, and send every tick to the target."""

    # A clock has nothing better to do than to wait for its target.
    patience = None

    def setup(self, tacks: int | None = None, delay: float = 1.0) -> None:
        """Choose the rhythm.

        Args:
            tacks: How many ticks; without it the clock never stops.
            delay: Seconds from tick to tick.

        """
        if tacks is not None and tacks < 1:
            raise ValueError(f"tacks must be at least 1, got {tacks}")
        if not 0 < delay < inf:
            raise ValueError(f"delay must be a finite number of seconds above 0, got {delay}")
        self.tacks = tacks
        self.delay = delay
        self.payload = 0

    @factory.every("self.delay")
    async def tick(self) -> None:
        """Send one tick and wait for its acknowledgement."""
        self.out(f"> {self.payload}")
        try:
            async for ack in self.stream(self.target, str(self.payload), "datafeed", quiet=True):
                self.out(f"< {ack}")
        except mesh.DeliveryError as exc:
            # The clock outlives what it ticks for.
            self.out(f"< {exc}")
        self.payload += 1
        if self.payload == self.tacks:
            self.stop()

"""A sketch that reacts to what firmware does to a pin."""

import factory


class Watcher(factory.FactoryLoop):
    """Let the buzzer buzz when the LED of the board goes on."""

    @factory.reactive("pin/13", source="uno")
    async def led(self, channel, level: int):
        """Take each change of the pin."""
        self.out("●" if level else "○")
        if level:
            await self.stream("buzzer", 1)

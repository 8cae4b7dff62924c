"""A sketch whose handler raises when it is told to."""

import factory


class Fragile(factory.FactoryLoop):
    """Breaks on request."""

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        if msg == "break":
            raise ValueError("no")
        return msg

"""Lines 1: the echo of the source; every line, or message, comes back."""

import factory


class Echo(factory.FactoryLoop):
    """Say what was sent; a message that is a single dot closes the connection."""

    @factory.reactive
    async def loop(self, channel: str, msg):  # type: ignore[no-untyped-def]
        """Answer a message, but for the dot."""
        if msg == ".":
            raise factory.Close
        return f"You sent: {msg}" if isinstance(msg, str) else b"You sent: " + msg

"""Lines 2: take note of clients that come and go, and send back exactly what they send."""

import factory


class RawEcho(factory.FactoryLoop):
    """Echo every message as it is."""

    def on_client(self, client: factory.Client, state: str, reason: str) -> bool:
        """Say that a client came or went."""
        self.out("Connection established" if state == "up" else "Connection closed")
        return True

    @factory.reactive
    async def loop(self, channel: str, msg):  # type: ignore[no-untyped-def]
        """Send a message back."""
        self.out(f"Data received: {msg}")
        return msg

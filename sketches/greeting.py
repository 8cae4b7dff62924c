"""Lines 3: greet every name, however many come in one piece of the wire."""

import factory


class Greeting(factory.FactoryLoop):
    """Greet whoever says a name."""

    def on_client(self, client: factory.Client, state: str, reason: str) -> bool:
        """Say that a client came or went."""
        self.out("Server connected to client" if state == "up" else "The client closed the connection")
        return True

    @factory.reactive
    async def loop(self, channel: str, name: str) -> str:
        """Answer a name with a greeting."""
        self.out(f"Data received from client: {name}")
        return f"Hello, {name}!"

    @factory.on_stop
    async def goodbye(self) -> None:
        """Say that it ends."""
        self.out("Server is shutting down")

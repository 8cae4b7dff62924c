"""Lines 4: say what went wrong and hang up, rather than go on with a client one cannot understand."""

import factory
from sketches.greeting import Greeting


class RobustGreeting(Greeting):
    """Greet whoever says a name; tell any error to the client and close the connection."""

    # For what is not caught below.
    on_error = "close"

    @factory.reactive
    async def loop(self, channel: str, name):  # type: ignore[no-untyped-def]
        """Answer a name with a greeting, and what is none with an error."""
        try:
            text = name if isinstance(name, str) else name.decode()
            if not text.strip():
                raise ValueError("a name has at least one letter")
            return await super().loop(channel, text)
        except Exception as e:
            self.out(f"Error: {e}")
            raise factory.Close(f"Error: {e}", str(e)) from e

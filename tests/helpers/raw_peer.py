"""A peer made of bytes: it says to a link whatever a test wants, right or wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from mesh.protocol.link import Event, Link, LinkSettings, read_hello

TERMS: dict[str, Any] = {
    "v": [1],
    "name": "raw",
    "incarnation": "r1",
    "session": "",
    "connections": 0,
    "window_messages": 4096,
    "window_bytes": 4 * 1024 * 1024,
    "max_message": 16 * 1024 * 1024,
    "heartbeat": 0.5,
    "timeout": 2.5,
}


class RawPeer:
    """A dialler that a link has accepted, and everything the link said to it."""

    def __init__(self, settings: LinkSettings | None = None, **terms: Any) -> None:
        self.now = 100.0
        self.link = Link("here", "h1", self.now, settings=settings)
        self.events: list[Event] = []
        self.welcome: dict[str, Any] = {}
        self.greeting: list[Any] = []
        self.attach(**terms)

    def attach(self, **terms: Any) -> bytes | None:
        """Dial, and prove that WELCOME came."""
        hello = read_hello(msgspec.msgpack.encode([[0, {**TERMS, **terms}]]))
        no = self.link.accept(hello, self.now, session=f"s{self.now}")
        if no is None:
            ((kind, self.welcome),) = msgspec.msgpack.decode(self.link.data_to_send(self.now)[0])
            assert kind == 1
            self.greeting = self.say()
        return no

    def resume(self, **terms: Any) -> list[Any]:
        """Lose the connection, dial again, and return what the link then says first."""
        self.link.connection_lost(self.now)
        session, connections = self.welcome["session"], self.welcome["connections"]
        self.attach(**{"session": session, "connections": connections, **terms})
        assert self.welcome["resumed"]
        return self.greeting

    def say(self, *records: list[Any]) -> list[Any]:
        """Send one frame of records, and return the records that the link answers with."""
        self.link.receive(msgspec.msgpack.encode(list(records)), self.now)
        return self.heard()

    def heard(self) -> list[Any]:
        """Return the records that the link has to say."""
        records = []
        while frames := self.link.data_to_send(self.now):
            for frame in frames:
                records += msgspec.msgpack.decode(frame)
        self.events += self.link.events()
        return records

    def take(self, kind: type) -> list[Any]:
        """Return, and forget, the events of one kind."""
        self.events += self.link.events()
        found = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass, and return what the link says."""
        self.now += seconds
        self.link.handle_timer(self.now)
        return self.heard()

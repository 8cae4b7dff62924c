"""The listening side for whoever speaks no websocket: lines, or what layers make messages of.

As at the door for websockets, messages of one client are handled one after the other, a refused
message is answered and the client stays, and what became of each is in the books. When the door is
*drained*, its address is given up first, and who is there gets the answers to what has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from ssl import SSLContext

from mesh.conversation import STOPPING, Choose, Client, Conversation, Responder, just_answer
from mesh.descriptors import raise_limit, reserve
from mesh.door import MAX_CLIENTS
from mesh.exchange import Exchange, Framing, Lines, Whole
from mesh.protocol.books import TakenBooks
from mesh.protocol.lines import MAX_LINE
from mesh.protocol.values import Refusal, refusal_to_wire
from mesh.transport.address import Options
from mesh.transport.base import Transport
from mesh.transport.endpoints import listen
from mesh.transport.layers import LayerSpec, Line
from mesh.transport.layers.layered import Layered
from mesh.transport.listener import Listener

_GRACE = 16
# Connections on top of those that may come in, which are told so.


class StreamDoor:
    """Takes plain clients at one address.

    Args:
        responder: Who answers.
        channel: The channel that their messages go to.
        max_clients: Clients at once, or as many as there are descriptors for; one more is told so and
            closed.
        others: Tells how many connections the other doors of this process have; they count as well.
        books: Where messages are counted; by default in books of its own.
        max_line: Bytes that a line may have.
        idle: Seconds after which a client that sends nothing is closed; ``None`` for never.
        notice: Called with a sentence for people, of a device that is gone or back.
        converse: Chooses who holds the conversation with a client.

    Attributes:
        address: Where it listens; known once open.
        turned_away: Clients that were one too many.
        books: The ledger of what its clients sent.

    """

    def __init__(
        self,
        responder: Responder,
        *,
        channel: str = "",
        max_clients: int = MAX_CLIENTS,
        others: Callable[[], int] = lambda: 0,
        books: TakenBooks | None = None,
        max_line: int = MAX_LINE,
        idle: float | None = None,
        notice: Callable[[str], object] = lambda _words: None,
        converse: Choose = just_answer,
    ) -> None:
        self._converse = converse
        self._responder = responder
        self._channel = channel
        self._max_clients = max_clients
        self._others = others
        self._max_line = max_line
        self._idle = idle
        self._notice = notice
        self._listener: Listener | None = None
        self._talks: dict[Conversation, asyncio.Task[None]] = {}
        self._speaks_lines = False
        self.address = ""
        self.turned_away = 0
        self.books = TakenBooks() if books is None else books

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return len(self._talks)

    async def open(
        self, url: str, layers: Sequence[LayerSpec] = ("line",), ssl: SSLContext | None = None
    ) -> None:
        """Listen at an address.

        Args:
            url: The address; see ``mesh.transport.endpoints``.
            layers: What makes messages of what comes there, first that nearest the wire.
            ssl: What it speaks TLS with, where the address can.

        Raises:
            EndpointError: If it is no address.
            ServeError: If nobody can listen there now.

        """
        limit = raise_limit()
        if limit is not None:
            self._max_clients = min(self._max_clients, limit - reserve(limit))
        # Lines are cut here, where all that came in one read can be answered with one write.
        self._speaks_lines = list(layers[-1:]) == ["line"]
        lower = layers[:-1] if self._speaks_lines else layers
        layers = [partial(Line, max_line=self._max_line) if spec == "line" else spec for spec in lower]
        options = Options(half_open=True, ssl=ssl, limit=self._max_clients + _GRACE, notice=self._notice)
        self._listener = await listen(url, self._accept, layers=layers, options=options)
        self.address = self._listener.address

    async def drain(self) -> None:
        """Give up the address, and wait until every message that has come is answered.

        May be cancelled; ``close()`` then ends what is left.
        """
        if self._listener is not None:
            self._listener.stop()
        for talk in self._talks:
            talk.drain()
        if self._talks:
            await asyncio.wait(self._talks.values())

    async def close(self) -> None:
        """Close every connection now, and cancel what is in hand."""
        if self._listener is not None:
            await self._listener.close()

    async def _accept(self, transport: Transport) -> None:
        framing: Framing = Lines(self._max_line) if self._speaks_lines else Whole()
        if len(self._talks) + self._others() >= self._max_clients:
            await self._turn_away(transport, framing)
            return
        exchange: Exchange
        client = Client(self._channel, "", transport.peer, tell=lambda value: exchange.tell(value))
        converse = self._converse(client)
        if converse is not None:
            await self._hold(client, converse(self._with_lines(transport)))
            return
        exchange = Exchange(
            transport,
            framing,
            client=client,
            responder=self._responder,
            books=self.books,
            idle=self._idle,
        )
        await self._run(exchange)

    def _with_lines(self, transport: Transport) -> Transport:
        return Layered(transport, [Line(max_line=self._max_line)]) if self._speaks_lines else transport

    async def _hold(self, client: Client, conversation: Conversation) -> None:
        self._responder.client_opened(client)
        reason = STOPPING
        try:
            reason = await self._run(conversation)
        finally:
            self._responder.client_closed(client, reason)

    async def _run(self, talk: Conversation) -> str:
        task = asyncio.current_task()
        assert task is not None
        self._talks[talk] = task
        try:
            return await talk.run()
        finally:
            del self._talks[talk]

    async def _turn_away(self, transport: Transport, framing: Framing) -> None:
        self.turned_away += 1
        words = f"there are {self._max_clients} clients already, and no more are let in"
        answer = framing.written(refusal_to_wire(Refusal("FullError", words)))
        framing.write(transport, b"\n", [answer])
        await transport.close(words)

"""``FactoryLoop``: what a sketch is a subclass of."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import EllipsisType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast, get_args

import mesh
from factory.clients import CurrentClient
from factory.errors import SketchError
from factory.output import OUTPUT
from factory.plan import Plan, read_plan
from factory.running import run_until_stopped
from mesh.arguments import check_seconds
from mesh.conversation import Client, Converse
from mesh.deliveries import REQUEST_TIMEOUT, delivery_of, request_delivery
from mesh.errors import NackedError
from mesh.gathering import Gathered, Targets, check_target, gather, nodes_of
from mesh.protocol.books import Books
from mesh.protocol.values import NO_ANSWER, message_to_wire
from mesh.text import did_you_mean, listing
from mesh.web import Page

if TYPE_CHECKING:
    from factory.worker import Worker
    from mesh.links.publishing import Publication
    from mesh.streams import Answers, Ask, OnNack, Stream
    from mesh.transport.layers import LayerSpec

OnError = Literal["nack", "close", "ignore"]
"""What becomes of a message whose handler raises."""

_API: set[str] = set()


class _Unmade:
    """Stands where the worker of a sketch will be, and says why there is none."""

    def __get__(self, sketch: object, owner: type) -> Self:
        if sketch is None:
            return self
        raise SketchError(
            f"{owner.__name__} has an __init__() of its own that does not call super().__init__(); "
            f"write def setup(self, ...) instead, which needs no super()"
        )


class FactoryLoop:
    """A sketch: ``setup()`` once, then ``loop()`` for every message.

    A subclass writes ``setup(self, **kwargs)``, ``@reactive async def loop(self,
    channel, msg)``, or both; the keyword arguments of the constructor go to
    ``setup()``. The class itself is checked when it is made.

    Attributes:
        grid: The nodes this one knows, a list with lookup by name.
        me: The node of the grid that this sketch runs as.
        name: Its name, which begins every line it prints.
        target: The node it sends to by default, as the grid or the command line says.
        line_door: Where it serves lines, as ``tcp://HOST:PORT`` or another address; ``None`` for nowhere.
            ``setup()`` may set it; empty, the sketch needs no websocket either unless a port is asked for.
        line_layers: What makes messages of the bytes there; a class or ``setup()`` may set others.
        patience: Seconds that ``stream()`` waits for an absent peer; ``None`` for ever.
            A class may set its own.
        registry: Where ``grid`` comes from; ``None`` for ``grid.yaml``.
        client: The plain client whose message is in hand, with its ``address`` and a ``state`` for whatever
            a sketch keeps of it; ``None`` if the message came over a link, or there is none.
        on_error: What becomes of a message whose handler raises: ``nack`` refuses it, ``close`` also ends
            the conversation with a plain client, ``ignore`` acknowledges it with ``None``.
        publishes: Channels that the class publishes on. A class that names any serves,
            even if it has no handlers, so that others can subscribe.
        pages: What browsers get where the sketch serves, by path without its leading slash;
            ``mesh.web.pages()`` makes it of a folder.

    Raises:
        SketchError: If a signature of the class is wrong, or an argument is none of
            ``setup()``'s.
        GridError: If the grid cannot be read.

    """

    patience: ClassVar[float | None] = 10.0
    registry: ClassVar[mesh.Registry | None] = None
    publishes: ClassVar[Collection[str]] = ()
    pages: ClassVar[Mapping[str, Page]] = MappingProxyType({})
    plan: ClassVar[Plan]
    on_error: OnError = "nack"
    client = CurrentClient()

    grid: mesh.Grid
    me: mesh.Node
    name: str
    target: mesh.Node | str | None
    line_door: str | None = None
    line_layers: Sequence[LayerSpec] = ("line",)

    _worker = cast("Worker", _Unmade())  # until the constructor has run

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.on_error not in get_args(OnError):
            known = listing(get_args(OnError), "or")
            raise SketchError(f"{cls.__name__}.on_error is {cls.on_error!r}; write {known}")
        cls.plan = read_plan(cls, taken=_API)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.plan.is_idle:
            raise SketchError(
                f"{type(self).__name__} does nothing: write a handler "
                f"(@factory.reactive above async def loop(self, channel, msg)), a rhythm (@factory.every) "
                f"or a start hook (@factory.on_start)"
            )
        if not hasattr(self, "me"):
            grid = mesh.grid(self.registry)
            own = type(self).__name__.lower()
            self._place(grid.get(own) or mesh.Node(own), grid)
        # Late, for it brings the network along, which who only reads the class has no use for.
        from factory.worker import Worker

        self._worker = Worker(self, self.plan)
        self._check_setup(args, kwargs)
        ready = self.setup(*args, **kwargs)
        if inspect.isawaitable(ready):
            self._worker.prepare(ready)

    @classmethod
    def as_node(cls, me: mesh.Node, grid: mesh.Grid, /, **kwargs: Any) -> Self:
        """Construct the sketch as a given node of a given grid.

        What the launcher does; the plain constructor takes the node of the class's
        own name, or an ad-hoc one.
        """
        sketch = cls.__new__(cls)
        sketch._place(me, grid)
        sketch.__init__(**kwargs)  # type: ignore[misc]
        _ = sketch._worker  # says so now if an __init__ of its own forgot ours
        return sketch

    def _place(self, me: mesh.Node, grid: mesh.Grid) -> None:
        self.me = me
        self.grid = grid.visible_to(me)
        self.name = me.name
        self.target = self.grid.node(me.target) if me.target else None
        if me.on_error is not None:
            self.on_error = me.on_error

    def _check_setup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = self.plan.setup
        try:
            signature.bind(*args, **kwargs)
        except TypeError as exc:
            words = str(exc)
            # Rather than what is missing because of it.
            unknown = [word for word in kwargs if word not in signature.parameters]
            if unknown and not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
                hint = did_you_mean(unknown[0], signature.parameters)
                words = f"got an unexpected keyword argument {unknown[0]!r}{hint}"
            raise SketchError(f"{type(self).__name__}.setup{signature}: {words}") from None

    if TYPE_CHECKING:
        # For type checkers any signature may override this one.
        def setup(self, *args: Any, **kwargs: Any) -> Any:
            """Customise the sketch; see below."""
    else:

        def setup(self):
            """Customise the sketch; override it with the arguments you like.

            Called by the constructor. May be ``async def``, and is then awaited before
            the worker serves.
            """

    @classmethod
    def check_arguments(
        cls,
        arguments: Mapping[str, Any],  # noqa: ARG003 - for those that override it
        node: mesh.Node,  # noqa: ARG003
        grid: mesh.Grid,  # noqa: ARG003
    ) -> Sequence[tuple[tuple[str, ...], str]]:
        """Say what is wrong with arguments, beyond their types, without constructing anything.

        ``mesh validate`` asks the shipped sketches; no code of others is run for it.

        Args:
            arguments: Those of a grid that fit the signature of ``setup()``.
            node: Whose they are.
            grid: The grid.

        Returns:
            For each mistake the names that lead to it, such as ``("parts", "key")``, and the words.

        """
        return ()

    def node(self, name: str) -> mesh.Node:
        """Return the node of that name or alias.

        Raises:
            UnknownNodeError: If the grid has none, with the closest name there is.

        """
        return self.grid.node(name)

    def out(self, text: object) -> None:
        """Print one line, with this node's name before it."""
        OUTPUT.line(self.name, str(text))

    def stream(
        self,
        target: mesh.Node | str | None,
        data: object,
        channel: str = "",
        *,
        on_nack: OnNack = "raise",
        quiet: bool = False,
        ack_timeout: float | None = None,
        peer_timeout: float | EllipsisType | None = ...,
        delivery: str = "at-least-once",
        window: int | None = None,
    ) -> Stream:
        """Send data to a channel of another node and collect the acknowledgements.

        Await it for the list of acks, or iterate it for each as it comes; one ack for
        each item, in order. A ``str``, ``bytes``, number, ``None``, ``dict``, dataclass
        or Struct is one item; any other iterable or async iterable is many.

        Args:
            target: Name or alias of a node, or a node.
            data: What to send.
            channel: The channel of the target.
            on_nack: ``raise`` ends at the first refusal; ``yield`` goes on and hands
                over the ``NackedError`` in its place.
            quiet: Do not print what is sent and what comes back, and do not wait for
                each answer before the next item: the fast way.
            ack_timeout: Seconds to wait for an answer, from the moment its item was sent;
                ``None`` for as long as the peer lives.
            peer_timeout: Seconds to wait for an absent peer, ``None`` for ever; by default
                the class's ``patience``.
            delivery: ``at-least-once``, or ``at-most-once``, which rather fails than sends
                an item again to a peer that was restarted.
            window: Most items in flight when quiet; ``None`` for the link's own limit.

        Raises:
            UnknownNodeError: If the grid has no such node.
            GridError: If the target is this sketch itself, or there is none.
            NotAServerError: If the node has no port.
            NackedError: If the peer's handler refused an item; ``.acks`` has the acks
                before it.
            PeerDownError: If the peer was away for longer than ``patience``.
            AckTimeoutError: If the answer did not come in time.
            OutcomeUnknownError: If the answer will never come, though the item was sent.
            PayloadError: If an item cannot be sent, or the channel's name is longer than the 255
                characters that a link takes.
            NameTakenError: If the peer has a live link with another process of this name.
            VersionMismatchError: If the peer speaks no version of the link that this one speaks.
            FrameTooLargeError: If an item is larger than the peer takes.
            ValueError: If ``on_nack`` or ``delivery`` is none of the words above, or a limit too small.
            TypeError: If the target is neither a name nor a node, the channel no text, or a limit no number.

        """
        node = self._node_of(target)
        node.check(channel)
        if isinstance(peer_timeout, EllipsisType):
            peer_timeout = self.patience
        else:
            check_seconds("peer_timeout", peer_timeout)
        wanted = delivery_of(delivery, patience=peer_timeout, ack_timeout=ack_timeout)

        outgoing = self._worker.outgoing
        if quiet:
            return outgoing.stream(node, data, channel, delivery=wanted, window=window, on_nack=on_nack)

        def show(answers: Answers) -> None:
            for answer in answers if isinstance(answers, list) else [answers]:
                self.out(f"< {_shown(answer)}")

        return outgoing.stream(
            node,
            data,
            channel,
            delivery=wanted,
            # Said aloud, a stream goes step by step, so that its lines tell the story.
            window=1,
            on_nack=on_nack,
            begin=lambda: self.out(f"starting to stream message to {node.name}"),
            before=lambda item: self.out(f"> sending payload: {_shown(message_to_wire(item))}"),
            after=show,
        )

    def _node_of(self, target: mesh.Node | str | None) -> mesh.Node:
        if target is None:
            raise mesh.GridError(
                f"{self.name} has no target; give it one: `target:` in the grid, --target NODE or --port N"
            )
        check_target(target)
        node = self.node(target) if isinstance(target, str) else target
        self._refuse_itself(node)
        return node

    def _refuse_itself(self, node: mesh.Node) -> None:
        if node.name != self.name:
            return
        here = [self.me]
        with suppress(mesh.NotAServerError):
            here.append(self.serving)
        if node in here:
            raise mesh.GridError(
                f"{self.name} is this sketch itself, and a sketch has no link to itself; "
                f"call the handler as a method instead: await self.METHOD(channel, msg)"
            )

    async def request(
        self,
        target: mesh.Node | str | None,
        msg: object,
        channel: str = "",
        *,
        timeout: float | None = REQUEST_TIMEOUT,
    ) -> Any:
        """Send one message to a channel of another node and return its answer, which keeps its type.

        Prints nothing.

        Args:
            target: Name or alias of a node, or a node.
            msg: The message, whatever it is.
            channel: The channel of the target.
            timeout: Seconds to wait for the answer, from the moment the message was sent; an
                absent node is waited for no longer than that either, nor than the class's
                ``patience``. ``None`` waits for as long as the peer lives.

        Raises:
            UnknownNodeError: If the grid has no such node.
            GridError: If the target is this sketch itself, or there is none.
            NotAServerError: If the node has no port.
            NackedError: If the peer's handler refused the message.
            AckTimeoutError: If the answer did not come in time.
            PeerDownError: If the peer was away for too long.
            OutcomeUnknownError: If the answer will never come, though the message was sent.
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is larger than the peer takes.
            TypeError: If the target is neither a name nor a node, the channel no text, or the timeout no
                number.
            ValueError: If the timeout is not above zero.

        """
        node = self._node_of(target)
        node.check(channel)
        delivery = request_delivery(self.patience, timeout)
        return await self._worker.outgoing.request(node, msg, channel, delivery)

    def ask(self, target: mesh.Node | str | None, msg: object, channel: str = "") -> Ask:
        """Send one message to a channel of another node and iterate over the parts of its answer.

        A handler that is an async generator gives any number of parts, any other one gives
        one. The generator never runs more than 64 parts ahead. When the loop is left, by
        ``break``, an error or cancellation, it is closed, and its ``finally`` runs.

        Args:
            target: Name or alias of a node, or a node.
            msg: The message, whatever it is.
            channel: The channel of the target.

        Raises:
            UnknownNodeError: If the grid has no such node.
            GridError: If the target is this sketch itself, or there is none.
            NotAServerError: If the node has no port.
            TypeError: If the target is neither a name nor a node, or the channel no text.

        In the place of the next part it raises what ``request()`` may raise, but for the timeout.

        """
        node = self._node_of(target)
        node.check(channel)
        return self._worker.outgoing.ask(node, msg, channel, patience=self.patience)

    async def gather(
        self,
        targets: Targets,
        msg: object,
        channel: str = "",
        *,
        count: int | None = None,
        deadline: float | None = REQUEST_TIMEOUT,
        stall: float | None = None,
    ) -> Gathered:
        """Send one message to several nodes at once and collect their answers by name.

        Args:
            targets: A group of the grid, without this node itself, or several nodes.
            msg: The message for each of them.
            channel: The channel of each of them.
            count: Answers that are enough; ``None`` waits for all.
            deadline: Seconds after which it stops; ``None`` for none.
            stall: Seconds without a new answer after which it stops; ``None`` for none.

        Returns:
            A mapping from names to answers. Its ``errors`` holds by name why others gave none,
            its ``missing`` the names of those that had not answered when it stopped.

        Raises:
            UnknownNodeError: If the grid has no such node.
            GridError: If a target is this sketch itself, or there is none.
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is larger than a peer takes.
            ValueError: If a limit makes no sense.
            TypeError: If a limit is no number, or a target neither a name nor a node.

        """
        delivery = request_delivery(self.patience, None)
        outgoing = self._worker.outgoing
        nodes = nodes_of(targets, self.grid, self.name)
        for node in nodes:
            self._refuse_itself(node)
        return await gather(
            nodes,
            lambda node: outgoing.request(node, msg, channel, delivery),
            count=count,
            deadline=deadline,
            stall=stall,
        )

    def publish(self, channel: str, msg: object, *, latch: bool = False) -> Publication:
        """Publish a message to whoever subscribed to a channel: sketches, scripts, plain clients.

        It is on its way when this returns. Awaited, it also waits until every subscriber
        with the policy ``block`` has room, and gives the others their turn; who does not
        await lets such a subscriber do without the message, and is warned. To be called
        on the event loop.

        Args:
            channel: Name of the channel, which is this sketch's own.
            msg: Anything that can be sent.
            latch: Keep the message for those who subscribe later, until the next one that
                is kept.

        Returns:
            Await it for the number of subscribers.

        Raises:
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is too large.
            ValueError: If no channel can have that name.

        """
        return self._worker.publishing.publish(channel, msg, latch=latch)

    def subscribers(self, channel: str) -> int:
        """Return how many subscribed to a channel that this sketch publishes."""
        return self._worker.publishing.subscribers(channel)

    async def circulate(
        self, group: str, msg: object, *, timeout: float | None = REQUEST_TIMEOUT
    ) -> mesh.Receipt:
        """Send a message once round a ring, and return the receipt when it is back.

        At the other members it comes to the handler that takes the channel of the ring's name.

        Args:
            group: A group of the grid with ``topology: ring``, which this node is a member of.
            msg: The message.
            timeout: Seconds to wait for the receipt; ``None`` waits for ever.

        Returns:
            The receipt: ``seen`` names those that took the message, in the order of the ring.

        Raises:
            GridError: If there is no such ring, or this node is not in it.
            NoReceiptError: If it was not back in time; some members may have taken it.
            RingError: If too many messages wait to be sent already.
            RingLeftError: If the worker stops.
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is larger than 1 MiB.

        """
        return await self._worker.circulating.rings.circulate(group, msg, timeout)

    async def ring_members(self, group: str, *, timeout: float = 2.0) -> tuple[str, ...]:
        """Return who is in a ring now besides this node, in its order.

        Args:
            group: As for ``circulate()``.
            timeout: Seconds to wait for a ring that is broken.

        Raises:
            GridError: If there is no such ring, or this node is not in it.
            NoReceiptError: If the ring was not closed for so long.

        """
        return await self._worker.circulating.rings.ring(group).members(timeout)

    def on_peer(self, name: str, state: str, reason: str) -> Any:
        """Take note that a peer came (``up``) or went (``down``); override it, async if you like.

        Args:
            name: The peer's name.
            state: ``up`` or ``down``.
            reason: Why, for people.

        """

    def on_client(self, client: Client, state: str, reason: str) -> Any:
        """Take note that a plain client came (``up``) or went (``down``); override it, async if you like.

        Called before the first message of a client and after its last one.

        Args:
            client: The client. It is the same object both times, and in ``self.client`` between them.
            state: ``up`` or ``down``.
            reason: From where it came, or why it went, for people.

        Returns:
            ``True`` if the sketch has said so itself, so that the line that is printed
            otherwise is left out.

        """

    def on_subscriber(self, channel: str) -> Any:
        """Take note that somebody subscribed to a channel of this sketch; override it, async if you like.

        Args:
            channel: The channel.

        """

    def ledger(self) -> Books:
        """Return what the sketch counts by itself, to be shown in the ledger; override it, and not async.

        Returns:
            By a name in brackets, which can be no peer's, the lines as the ledger has them: ``sent``,
            ``received`` and ``published``. One that does not balance counts as any other.

        """
        return {}

    def converse(self, client: Client) -> Converse | None:
        """Return what holds the whole conversation with a plain client; override it, and not async.

        For protocols of which an answer to each message is not the rule. What is said then is the sketch's
        own business: it is not in the ledger, and no handler sees it.

        Args:
            client: Who came, before its first message.

        Returns:
            What is called with the connection, a ``mesh.Transport``, and begins the conversation;
            ``None`` if handlers answer its messages.

        """
        return None

    def next_message(self, channel: str | None = None) -> asyncio.Future[str | bytes]:
        """Return a future for the next message that comes, as it comes; its handler handles it as well.

        Args:
            channel: The channel that it comes on; ``None`` for any.

        Returns:
            The future; cancelled when the worker stops before a message came.

        """
        return self._worker.next_message(channel)

    async def to_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a function that blocks in a thread of this worker and await its result."""
        return await self._worker.to_thread(function, *args, **kwargs)

    def stop(self) -> None:
        """Ask the worker to finish what is in hand and end. Returns at once."""
        self._worker.stop()

    def run(self, socket: str | None = None, port: int | None = None) -> None:
        """Run until stopped; blocks.

        Ctrl-C and SIGTERM drain and return; a second Ctrl-C exits with 130 at once. A
        sketch runs once; construct another to run it again.

        Args:
            socket: Host to serve on, else the grid's, which is ``localhost`` unless it
                says otherwise. A client-only sketch does not serve, and takes
                this and ``port`` for the address of its target.
            port: Port to serve on, else the grid's, else ``$PORT``, else 8765.

        Raises:
            SystemExit: With 1, after one line that says why, if it cannot run; with 2 if
                that is because ``async def setup()`` raised ``ValueError``.
            RuntimeError: If it was started before.

        """
        run_until_stopped(self, self._worker, socket, port)

    async def arun(self, socket: str | None = None, port: int | None = None) -> None:
        """Run until ``stop()`` or cancellation; what ``run()`` does, for async code.

        Raises:
            ServeError: If the worker cannot listen there.
            HookError: If ``setup()`` or a start hook raised.
            RuntimeError: If it was started before.

        """
        async with self.running(socket, port):
            await self._worker.wait_stopped()

    @asynccontextmanager
    async def running(self, socket: str | None = None, port: int | None = None) -> AsyncIterator[Self]:
        """Run for as long as the ``async with`` block lasts, then drain.

        Inside the block the worker serves: ``port`` of ``self.serving`` is known. Cancelled,
        it still drains to the end, which takes about 5 seconds at the most.
        """
        await self._worker.start(socket, port)
        try:
            yield self
        finally:
            await self._worker.finish()

    async def wait_closed(self) -> None:
        """Return when the worker was asked to stop, and has answered, closed and ended everything."""
        await self._worker.wait_stopped()
        await self._worker.finish()

    @property
    def serving(self) -> mesh.Node:
        """This node with the host and port that it really serves on.

        Raises:
            NotAServerError: If it serves nowhere, or not yet.

        """
        return self._worker.address


# What a sketch uses and the machinery calls: no name for a handler.
_API.update(name for name in (*vars(FactoryLoop), *FactoryLoop.__annotations__) if not name.startswith("__"))

# Refused when it is constructed, as any class that asks for nothing.
FactoryLoop.plan = read_plan(FactoryLoop)


def _shown(value: object) -> str:
    if isinstance(value, NackedError):
        return f"{value.type}: {value.reason}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return NO_ANSWER if value is None else str(value)

"""Addresses: what they mean, what is wrong with them, and who listens or does not."""

from __future__ import annotations

import asyncio
import socket
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from mesh.errors import ServeError
from mesh.transport import endpoints
from mesh.transport.address import Address, Options, Scheme
from mesh.transport.base import DialError, Transport, TransportClosedError
from mesh.transport.endpoints import EndpointError, address_of, dial, is_stream, listen, register, schemes
from mesh.transport.listener import Accept, Listener
from mesh.transport.schemes.memory import MEMORY
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration


async def echo(transport: Transport) -> None:
    while True:
        await transport.send(await transport.recv())


@pytest.mark.source("D2")
def test_the_shipped_schemes() -> None:
    assert [*endpoints._shipped()] == ["tcp", "unix", "serial", "ws", "wss", "ws+unix", "memory"]
    assert [name for name in schemes() if is_stream(schemes()[name].example)] == ["tcp", "unix", "serial"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("tcp://localhost:8007", ("tcp", "localhost", 8007, "")),
        ("TCP://[::1]:8007", ("tcp", "::1", 8007, "")),
        ("tcp://:8007", ("tcp", "", 8007, "")),
        ("unix:///run/my%20x.sock", ("unix", "", None, "/run/my x.sock")),
        ("ws+unix:///run/x.sock", ("ws+unix", "", None, "/run/x.sock")),
        ("serial:///dev/ttyUSB0?baud=115200", ("serial", "", None, "/dev/ttyUSB0")),
        ("memory://x", ("memory", "x", None, "")),
        ("wss://example.org:443", ("wss", "example.org", 443, "")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[object, ...]) -> None:
    address = address_of(url)
    assert (address.scheme, address.host, address.port, address.path) == parts
    assert address.text == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:8007", "it has no scheme; write it as tcp://localhost:8007"),
        ("tpc://localhost:8007", r"scheme 'tpc' is not known, did you mean 'tcp'\?; there are tcp, unix"),
        ("tcp://localhost", "it has no port; write it as tcp://localhost:8007"),
        ("tcp://localhost:99999", "Port out of range 0-65535"),
        ("tcp://localhost:x", "Port could not be cast"),
        ("tcp://me@localhost:1", "it has neither a user nor a fragment"),
        ("tcp://localhost:1#x", "it has neither a user nor a fragment"),
        ("tcp://localhost:1?x=1", "parameter 'x' is not known; it takes none"),
        ("unix://x/y.sock", "it has a path and no host"),
        ("unix://", "it leads nowhere"),
        ("memory://", "it leads nowhere"),
        ("serial:///dev/x?bauds=1", r"'bauds' is not known, did you mean 'baud'\?; it takes baud"),
        ("tcp://\x1b[31m", r"'tcp://\\x1b\[31m' is no endpoint"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, why: str) -> None:
    with pytest.raises(EndpointError, match=why):
        address_of(url)


async def test_a_parameter_that_is_no_number() -> None:
    with pytest.raises(EndpointError, match="baud is 'fast'; write a whole number"):
        await dial("serial:///dev/ttyUSB0?baud=fast")


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:1", "unix:///no/such.sock", "ws://127.0.0.1:1", "memory://no"]
)
async def test_nobody_there_is_one_sentence(url: str) -> None:
    with pytest.raises(DialError, match=f"cannot reach {url}: (nobody listens there|no such file)") as caught:
        await dial(url)
    assert not caught.value.for_good
    assert isinstance(caught.value, ConnectionError)


async def test_who_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DialError, match=r"no answer within 0\.05 s"):
            await dial(f"ws://127.0.0.1:{port}", timeout=0.05)


async def test_what_is_no_websocket_server_and_what_refuses() -> None:
    async with await listen("tcp://127.0.0.1:0", hang_up) as listener:
        with pytest.raises(DialError, match="no websocket server") as caught:
            await dial(listener.address.replace("tcp:", "ws:"))
        assert not caught.value.for_good
    async with await listen("ws://127.0.0.1:0", echo, options=Options(limit=0)) as listener:
        with pytest.raises(DialError, match="it answered HTTP 503 no more connections") as caught:
            await dial(listener.address)
        assert not caught.value.for_good
        assert listener.turned_away == 1


async def hang_up(transport: Transport) -> None:
    await transport.recv()


async def test_web_pages_of_others_may_not_come_in() -> None:
    async with await listen("ws://127.0.0.1:0", echo) as listener:
        with pytest.raises(Exception, match="403"):
            await connect(listener.address, origin="https://evil.example")  # type: ignore[arg-type]
        # A websocket client like any other; text and fragments come as their bytes.
        async with connect(listener.address) as client:
            await client.send(["a", "b"])
            assert await client.recv() == b"ab"


async def test_wss_needs_a_certificate() -> None:
    with pytest.raises(ServeError, match="wss needs a certificate"):
        await listen("wss://127.0.0.1:0", echo)


async def test_a_taken_port_and_a_taken_name() -> None:
    async with await listen("tcp://127.0.0.1:0", echo) as listener:
        with pytest.raises(ServeError, match="Is the server already running"):
            await listen(listener.address, echo)
    async with await listen("memory://x", echo):
        with pytest.raises(ServeError, match="that name is taken"):
            await listen("memory://x", echo)


async def test_localhost_is_both_of_its_addresses() -> None:
    async with await listen("tcp://:0", echo) as listener:
        port = address_of(listener.address).port
        for host in ("127.0.0.1", "localhost"):
            transport = await dial(f"tcp://{host}:{port}")
            await transport.send(b"x")
            assert await transport.recv() == b"x"
            await transport.close()


# -- unix sockets --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["unix", "ws+unix"])
async def test_a_unix_socket_is_the_owners_alone_and_is_tidied_up(scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    url = f"{scheme}://{path}"
    async with await listen(url, echo) as listener:
        assert listener.address == url
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ServeError, match="another process listens there"):
            await listen(url, echo)
        transport = await dial(url)
        await transport.send(b"x")
        assert await transport.recv() == b"x"
        await transport.close()
    assert not path.exists()


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with await listen(f"unix://{path}", echo):
        transport = await dial(f"unix://{path}")
        await transport.close()


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("precious")
    with pytest.raises(ServeError, match="what is there is no socket"):
        await listen(f"unix://{path}", echo)
    assert path.read_text() == "precious"
    with pytest.raises(ServeError, match="no such file or directory"):
        await listen(f"unix://{tmp_path}/none/x.sock", echo)
    with pytest.raises(ServeError, match="path too long"):
        await listen(f"unix://{tmp_path}/{'x' * 200}", echo)


async def test_a_successor_at_the_same_path_is_not_tidied_up(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    first = await listen(f"unix://{path}", echo)
    path.unlink()
    async with await listen(f"unix://{path}", echo):
        await first.close()
        assert path.exists()


# -- schemes of others ---------------------------------------------------------------------------


async def test_a_scheme_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_own", {})

    async def listen_loudly(address: Address, accept: Accept, options: Options) -> Listener:
        return await MEMORY.listen(address, accept, options)

    register(Scheme("loud", listen_loudly, MEMORY.dial, "loud://name"))
    async with await listen("loud://x", echo, layers=["len32le"]):
        transport = await dial("loud://x", layers=["len32le"])
        await transport.send(b"x")
        assert await transport.recv() == b"x"
        await transport.close()
    with pytest.raises(EndpointError, match="did you mean 'loud'"):
        address_of("lout://x")


def test_a_scheme_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [EntryPoint("mem", "mesh.transport.schemes.memory:MEMORY", endpoints.GROUP)]
    monkeypatch.setattr(endpoints, "entry_points", lambda group: found if group == endpoints.GROUP else [])
    endpoints._shipped.cache_clear()
    try:
        assert "memory" in schemes()
        found.append(EntryPoint("bad", "mesh.transport.schemes.memory:network", endpoints.GROUP))
        endpoints._shipped.cache_clear()
        with pytest.raises(TypeError, match=r"entry point 'bad' of group sketchmesh\.transports leads to"):
            schemes()
    finally:
        monkeypatch.undo()
        endpoints._shipped.cache_clear()


async def test_layers_are_put_on_at_both_ends() -> None:
    async with await listen("memory://x", echo, layers=["len32le", "zlib"]):
        transport = await dial("memory://x", layers=["len32le", "zlib"])
        await transport.send(b"x" * 10_000)
        assert await transport.recv() == b"x" * 10_000
        assert transport.peer == "memory://x"
        transport.abort()
        with pytest.raises(TransportClosedError):
            await transport.recv()
        with pytest.raises(ValueError, match="layer 'zip' is not known"):
            await dial("memory://x", layers=["zip"])


async def test_a_dial_that_is_cancelled_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialling = asyncio.create_task(dial(f"ws://127.0.0.1:{silent.getsockname()[1]}"))
        accepted, _ = await asyncio.to_thread(silent.accept)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        with accepted:
            accepted.settimeout(DEADLINE)
            while await asyncio.to_thread(accepted.recv, 4096):
                pass


@pytest.mark.parametrize(
    ("scheme", "told"), [("tcp", "with --tcp, or where the grid"), ("ws", "where the grid")]
)
async def test_a_port_that_is_taken_is_told_with_where_to_choose_another(scheme: str, told: str) -> None:
    async def accept(transport: Transport) -> None: ...

    first = await listen(f"{scheme}://127.0.0.1:0", accept)
    try:
        with pytest.raises(ServeError, match=f"choose another {told} has {first.address}"):
            await listen(first.address, accept)
    finally:
        await first.close()

"""Every layer on every transport, alone and in pairs and triples, with messages that hypothesis makes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import GridError
from mesh.gridfile import parse_grid
from mesh.transport.base import Transport
from mesh.transport.layers import Layer, LayerSpec
from tests.helpers.from_docs import example
from tests.helpers.proc import DEADLINE
from tests.helpers.transports import MESSAGES, STREAMS, MakePair, Pair

Seal: type[Layer] = example("reference/transports.md", "Seal").Seal

# What cuts a stream into messages, and what needs messages below it.
FRAMING: dict[str, LayerSpec] = {"line": "line", "len32le": "len32le"}
TRANSFORMS: dict[str, LayerSpec] = {"zlib": "zlib", "logging": "logging", "seal": Seal}


def stacks(*, stream: bool) -> list[tuple[str, ...]]:
    """Return every order that makes sense of one to three layers."""
    found = []
    for count in (1, 2, 3):
        for order in permutations([*FRAMING, *TRANSFORMS], count):
            first = next((at for at, name in enumerate(order) if name in FRAMING), None)
            # Logging may lie below what cuts a stream; all else needs messages.
            below = order[:first]
            if stream and (first is None or set(below) - {"logging"}):
                continue
            # What is above a line may have line breaks in it, and is not text.
            if "line" in order and set(order[order.index("line") + 1 :]) - {"logging"}:
                continue
            found.append(order)
    return found


CASES = [
    *((kind, make, order) for kind, make in STREAMS.items() for order in stacks(stream=True)),
    *((kind, make, order) for kind, make in MESSAGES.items() for order in stacks(stream=False)),
]


def test_every_layer_is_stacked_on_every_transport() -> None:
    for kind in (*STREAMS, *MESSAGES):
        orders = [order for found, _, order in CASES if found == kind]
        assert {name for order in orders for name in order} == {*FRAMING, *TRANSFORMS}
        assert {len(order) for order in orders} == {1, 2, 3}
        assert len(orders) >= 15, orders


@pytest.mark.source("D12")
def test_what_has_no_order_that_works_is_refused_in_a_grid() -> None:
    names = [name for name in (*FRAMING, *TRANSFORMS) if name != "seal"]  # that one has no name there
    left_out = []
    for count in (1, 2, 3):
        for order in permutations(names, count):
            grid = f"nodes: {{a: {{doors: [{{url: 'tcp://x:1', layers: [{', '.join(order)}]}}]}}}}"
            try:
                parse_grid(grid.encode())
            except GridError:
                left_out.append(order)
    assert ("line", "zlib") in left_out
    assert set(left_out).isdisjoint(stacks(stream=True))
    assert {order for order in left_out if order[0] == "line"} == {
        order for count in (2, 3) for order in permutations(names, count) if is_spoilt(order)
    }


def is_spoilt(order: tuple[str, ...]) -> bool:
    return order[0] == "line" and bool(set(order[1:]) - {"logging"})


def messages(*, lines: bool) -> st.SearchStrategy[list[bytes]]:
    one = st.binary(max_size=200) | st.integers(1, 70_000 if not lines else 60_000).map(lambda n: b"x" * n)
    if lines:
        one = one.map(lambda message: message.replace(b"\n", b" ").replace(b"\r", b" "))
    return st.lists(one, max_size=8)


async def exchanged(pair: Pair, there: Sequence[bytes], back: Sequence[bytes]) -> None:
    """Send both ways at once, and check what comes."""

    async def send(transport: Transport, what: Sequence[bytes]) -> None:
        for message in what:
            await transport.send(message)

    async def take(transport: Transport, count: int) -> list[bytes]:
        return [await transport.recv() for _ in range(count)]

    near, far = pair
    async with asyncio.timeout(DEADLINE):
        _, _, came, answered = await asyncio.gather(
            send(near, there), send(far, back), take(far, len(there)), take(near, len(back))
        )
    assert came == list(there)
    assert answered == list(back)


@pytest.mark.source("D12")
@pytest.mark.parametrize(
    ("make", "order"),
    [pytest.param(make, order, id=f"{kind}-{'-'.join(order)}") for kind, make, order in CASES],
)
def test_messages_come_whole_through_every_stack(
    make: MakePair, order: tuple[str, ...], tmp_path: Path
) -> None:
    layers = [{**FRAMING, **TRANSFORMS}[name] for name in order]
    traffic = messages(lines="line" in order)

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(there=traffic, back=traffic)
    def check(there: list[bytes], back: list[bytes]) -> None:
        async def main() -> None:
            async with make(tmp_path, layers) as pair:
                await exchanged(pair, there, back)
                await pair[0].close()

        asyncio.run(main())

    check()

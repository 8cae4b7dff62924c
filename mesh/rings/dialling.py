"""Connections to the next member of a ring."""

from __future__ import annotations

from websockets.typing import Subprotocol

from mesh.dialling import AbsentError, connect
from mesh.node import Node
from mesh.protocol.ring import SUBPROTOCOL
from mesh.protocol.ring.records import MAX_FRAME
from mesh.transport.websocket import LinkClientConnection, WebsocketTransport, set_user_timeout

RING_CHANNEL = "$ring"
"""The path that rings are dialled at; what counts is the subprotocol."""


async def dial_ring(node: Node, timeout: float) -> WebsocketTransport:
    """Open a connection that speaks ``sketchmesh-ring.v1``, once.

    Args:
        node: The member.
        timeout: Seconds that it may take.

    Raises:
        AbsentError: If nobody is there, or who is there speaks it not.
        DeliveryError: If the node refuses for good, or has no usable address.

    """
    connection = await connect(
        node,
        RING_CHANNEL,
        timeout=timeout,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=MAX_FRAME,
        ping_interval=None,
        create_connection=LinkClientConnection,
    )
    if connection.subprotocol != SUBPROTOCOL:
        connection.transport.abort()
        raise AbsentError(f"it speaks no {SUBPROTOCOL}", accepted=True)
    set_user_timeout(connection.transport.get_extra_info("socket"), 1.0)
    assert isinstance(connection, LinkClientConnection)
    return connection.as_transport(node.uri())

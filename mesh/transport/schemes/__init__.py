"""The schemes that are shipped: how to listen at each kind of endpoint, and how to dial it."""

from mesh.transport.schemes.memory import MEMORY
from mesh.transport.schemes.serial import SERIAL
from mesh.transport.schemes.tcp import TCP
from mesh.transport.schemes.unix import UNIX
from mesh.transport.schemes.websocket import WS, WS_UNIX, WSS

SCHEMES = (TCP, UNIX, SERIAL, WS, WSS, WS_UNIX, MEMORY)

__all__ = ["SCHEMES"]

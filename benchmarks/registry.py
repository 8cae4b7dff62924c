"""The peers, by name. Nothing of theirs is imported here, so a missing one is only missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from benchmarks.processes import broker_path
from benchmarks.scaling import SCALING
from benchmarks.silent import SILENT
from benchmarks.soak import SOAKS

PIP = "pip install 'sketchmesh[bench]'"

ALL = ("backlog", "window", "roundtrip", "payload4k", "payload64k", "idle")
SMALL = ("backlog", "window")
EVERYTHING = (*ALL, "request", "fanout", "fanout_growth", "crowd", *SCALING, *SOAKS, *SILENT)
"""What only the product is asked to do."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table.

    Attributes:
        name: What ``--only`` and the module call it.
        title: What the table calls it.
        module: The module with the functions of ``api.PeerModule``.
        needs: Packages that have to be installed.
        broker: The program that has to run between sender and receiver.
        workloads: Those that it takes part in.
        text: Whether its small messages are ``str``; else ``bytes``.
        uvloop: ``False`` runs it on asyncio's own loop even where there is uvloop.
        idle: Connections that the workload ``idle`` opens.

    """

    name: str
    title: str
    module: str
    needs: tuple[str, ...] = ()
    broker: str | None = None
    workloads: tuple[str, ...] = ALL
    text: bool = False
    uvloop: bool = True
    idle: int = 1000

    def why_missing(self) -> str | None:
        """Return what is missing and the command that installs it, or ``None``."""
        for package in self.needs:
            if find_spec(package) is None:
                return f"package {package} is not installed: {PIP}"
        if self.broker is not None and broker_path(self.broker) is None:
            return f"{self.broker} is not installed: apt-get install {self.broker}"
        if self.module.endswith("sketchmesh"):
            try:
                # In a tree that is not whole the find_spec() of its packages says nothing.
                import_module("factory")
            except Exception as exc:
                return f"it cannot be imported from here: {type(exc).__name__}: {exc}"
        return None


def _websockets(name: str, title: str, *workloads: str, uvloop: bool = True) -> Variant:
    module = "benchmarks.peer_article" if name == "article" else "benchmarks.peer_websockets"
    return Variant(name, title, module, text=True, workloads=workloads, uvloop=uvloop)


def _nats(name: str, title: str, *workloads: str) -> Variant:
    return Variant(
        name, title, "benchmarks.peer_nats", ("nats",), "nats-server", workloads=workloads, idle=500
    )


VARIANTS: tuple[Variant, ...] = (
    Variant("sketchmesh", "sketchmesh", "benchmarks.peer_sketchmesh", text=True, workloads=EVERYTHING),
    _websockets("websockets", "websockets, pipelined", *ALL),
    _websockets(
        "websockets-stdloop",
        "websockets, pipelined, without uvloop",
        *(workload for workload in ALL if workload != "idle"),
        uvloop=False,
    ),
    _websockets(
        "article", "connect per stream, stop and wait", "backlog", "roundtrip", "payload4k", "payload64k"
    ),
    Variant("asyncio", "asyncio.Protocol", "benchmarks.peer_asyncio"),
    Variant("picows", "picows", "benchmarks.peer_picows", ("picows",), text=True),
    _websockets("websockets-broadcast", "websockets.broadcast", "fanout"),
    _nats("nats", "nats-py, inbox pattern", *ALL, "fanout"),
    _nats("nats-request", "nats-py, request()", "backlog", "window", "roundtrip", "request"),
    Variant(
        "zenoh",
        "zenoh, put + reply",
        "benchmarks.peer_zenoh",
        ("zenoh",),
        workloads=(*ALL, "fanout"),
        idle=100,
    ),
    Variant("pyzmq", "pyzmq, DEALER/ROUTER", "benchmarks.peer_zmq", ("zmq",), idle=500),
    Variant(
        "asyncio-batched",
        "asyncio.Protocol, batched: the ceiling",
        "benchmarks.peer_asyncio",
        workloads=SMALL,
        text=True,
    ),
    _websockets("websockets-batched", "websockets, batched by hand", *SMALL),
    Variant(
        "picows-batched",
        "picows, batched by hand",
        "benchmarks.peer_picows",
        ("picows",),
        workloads=SMALL,
        text=True,
    ),
    _nats("nats-batched", "nats-py, batched by hand", *SMALL),
    Variant("zenoh-batched", "zenoh, batched by hand", "benchmarks.peer_zenoh", ("zenoh",), workloads=SMALL),
    Variant("pyzmq-batched", "pyzmq, batched by hand", "benchmarks.peer_zmq", ("zmq",), workloads=SMALL),
)

LAYERS = (Variant("transport", "transport of a link", "benchmarks.peer_transport"),)
"""What is no peer of the product but a part of it; see ``benchmarks.where``."""

BY_NAME = {variant.name: variant for variant in (*VARIANTS, *LAYERS)}

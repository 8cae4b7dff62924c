"""The further doors of nodes: what is written becomes ``NodeDoor``s, and what cannot work is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from mesh.gridfile.model import DoorEntry, NodeEntry
from mesh.gridfile.problems import Problems, shown
from mesh.gridfile.tls import has_certificate
from mesh.node import NodeDoor

if TYPE_CHECKING:
    from mesh.gridfile.cross import Places


def doors_of(entry: NodeEntry) -> tuple[NodeDoor, ...]:
    """Return the doors of an entry, with what was left out filled in."""
    return tuple(_door(written) for written in entry.doors or ())


def speaks_link(entry: NodeEntry) -> bool:
    """Say whether a node can be linked with at one of its doors."""
    return any(_fields(written).get("speaks") == "link" for written in entry.doors or ())


def check_doors(name: str, entry: NodeEntry, addresses: set[str], places: Places, problems: Problems) -> None:
    """Note doors that share an address, or whose layers cannot carry what they are for."""
    for index, written in enumerate(entry.doors or ()):
        fields = _fields(written)
        if "url" not in fields:
            continue  # what it was has been said
        path = ("nodes", name, "doors", str(index))
        place = places.values[path]
        if fields["url"] in addresses:
            problems.add(
                place, f"door {shown(fields['url'])} is there twice", "give each door an address of its own"
            )
        addresses.add(fields["url"])
        why = _why_not(fields, entry)
        if why is not None and (*path, "layers") not in places.refused:
            problems.add(place, f"door {shown(fields['url'])} {why[0]}", why[1])


def _fields(written: Any) -> Mapping[str, Any]:
    if isinstance(written, DoorEntry):
        given = {name: getattr(written, name) for name in written.__struct_fields__}
        return {name: value for name, value in given.items() if value is not UNSET}
    return {"url": written} if isinstance(written, str) else written


def _door(written: Any) -> NodeDoor:
    fields = _fields(written)
    speaks = fields.get("speaks", "messages")
    return NodeDoor(
        fields["url"],
        _layers(fields),
        speaks,
        channel=fields.get("channel", ""),
        idle=fields.get("idle"),
        max_line=fields.get("max_line"),
    )


def _layers(fields: Mapping[str, Any]) -> tuple[str, ...]:
    from mesh.transport.endpoints import is_stream

    if fields.get("layers") is not None:
        return tuple(fields["layers"])
    if not is_stream(fields["url"]):
        return ()
    return ("len32le",) if fields.get("speaks") == "link" else ("line",)


def _why_not(fields: Mapping[str, Any], entry: NodeEntry) -> tuple[str, str] | None:
    """Return what cannot work with a door, and what would."""
    from mesh.transport.endpoints import address_of, is_stream, schemes
    from mesh.transport.layers import cuts_bytes, is_binary

    layers = _layers(fields)
    is_link = fields.get("speaks") == "link"
    if is_link and fields.get("channel"):
        return "speaks link, which has all channels", "remove `channel:`"
    if is_link and fields.get("idle") is not None:
        return "speaks link, which notices by heartbeats that a peer is gone", "remove `idle:`"
    if is_link and "compression" in address_of(fields["url"]).query:
        return "speaks link, which takes no extensions", "remove `compression=`, or write `layers: [zlib]`"
    if fields.get("max_line") is not None and "line" not in layers:
        return "has no lines, and a limit for them", "remove `max_line:`, or have `line` among its layers"
    scheme = address_of(fields["url"]).scheme
    if schemes()[scheme].is_local and not is_link:
        return "is for links within one process, and no client can reach it", "write tcp://HOST:PORT"
    if scheme == "wss" and (entry.sketch is not UNSET or not is_link) and not has_certificate(entry):
        return (
            "needs a certificate, and the node has none",
            "give it one, `tls: {cert: FILE, key: FILE}`, or write ws:// on localhost",
        )
    texts = [layer for layer in layers if not is_binary(layer)]
    if is_link and texts:
        return (
            f"speaks link, and a {texts[0]} cannot carry a link: its frames are binary, line breaks included",
            "write `layers: [len32le]`",
        )
    if is_stream(fields["url"]) and not any(cuts_bytes(layer) for layer in layers):
        return (
            "carries bytes, and none of its layers cuts them into messages",
            f"begin with {'len32le' if is_link else 'line or len32le'}",
        )
    for below in texts[:1]:
        # What another layer makes of a message has line breaks in it now and then, and breaks that often.
        above = [layer for layer in layers[layers.index(below) + 1 :] if layer != "logging"]
        if above:
            return (
                f"has {above[0]} above {below}, which carries text alone: only logging can be there",
                f"begin with len32le instead of {below}, or leave {above[0]} out",
            )
    return None

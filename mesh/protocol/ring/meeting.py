"""Who belongs to a ring. Pure."""

from __future__ import annotations

from mesh.protocol.ring.order import Order
from mesh.protocol.ring.records import VERSION, Terms


def why_refused(terms: Terms, group: str, name: str, order: Order) -> tuple[str, str] | None:
    """Return code and reason to refuse who says hello; ``None`` if it belongs to the ring.

    Args:
        terms: What the dialler says of itself.
        group: The ring.
        name: Who is asked.
        order: The members as that one knows them.

    """
    if terms.v != VERSION:
        return "version", f"{name} speaks version {VERSION}, {terms.name} speaks {terms.v}"
    if terms.group != group:
        return "group", f"{name} is in the ring {group}, {terms.name} asks for {terms.group}"
    if terms.members != order.digest:
        return "members", f"{name} and {terms.name} have different lists of members of {group}"
    if terms.name == name or terms.name not in order:
        return "name", f"{terms.name} cannot be dialling {name}"
    return None

"""Words for addresses of doors and names of layers that a grid has wrong.

What is imported is imported when the first door is read: a grid without any needs no transports.
"""

from __future__ import annotations

from typing import Final

from mesh.gridfile.address import Explanation
from mesh.gridfile.problems import shown
from mesh.text import did_you_mean, listing

URL: Final = r"^[A-Za-z][A-Za-z0-9+.-]*://.+$"


def explain_url(text: str) -> Explanation:
    """Say what is wrong with the address of a door."""
    from mesh.transport.endpoints import EndpointError, address_of

    try:
        address = address_of(text)
    except EndpointError as exc:
        return f"{shown(text)} is no address of a door", f"{exc.why}; {exc.fix}"
    if address.port == 0:
        return f"{shown(text)} takes any free port", "write a port above 0, that the others can find it"
    return None


def explain_layer(text: str) -> Explanation:
    """Say what is wrong with the name of a layer."""
    from mesh.transport.layers import layer_names

    names = layer_names()
    if text in names:
        return None
    return f"layer {shown(text)} is not known{did_you_mean(text, names)}", f"there are {listing(names)}"

"""Names, hosts, sketches and origins: what is well formed, and why something is not.

The patterns go into the JSON Schema as they are, so they keep to what Python
and ECMAScript both understand. Each ``explain_…`` returns what is wrong and
what would be right, or ``None`` when nothing is.
"""

from __future__ import annotations

import ipaddress
import re

from mesh.gridfile.problems import shown
from mesh.node import is_loopback
from mesh.protocol.fanout import MAX_CHANNEL

NAME = "^[A-Za-z][A-Za-z0-9_-]{0,63}$"
HOST = r"^[^\s/\\@?#\[\]]{1,253}$"
SKETCH = (
    "^([A-Za-z_][A-Za-z0-9_-]*"
    r"|([^:\s][^:]*[/\\])?[^:/\\]+\.py:[A-Za-z_][A-Za-z0-9_]*"
    r"|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*)$"
)
ARGUMENT = "^[A-Za-z_][A-Za-z0-9_]*$"
ORIGIN = r"^(?:null|[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?)$"

_NAME, _SKETCH, _ARGUMENT, _ORIGIN = map(re.compile, (NAME, SKETCH, ARGUMENT, ORIGIN))
_LABEL = re.compile("[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")
_WITH_PORT = re.compile(r"(\[.*\]|[^:]*):[0-9]+")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

Explanation = tuple[str, str] | None


def explain_name(text: str) -> Explanation:
    """Say what is wrong with the name of a node or a group."""
    if _NAME.fullmatch(text):
        return None
    if text.startswith("$"):
        return f"the name {shown(text)} is reserved", "names that start with $ belong to the mesh; drop the $"
    if len(text) > 64:
        return f"the name {shown(text)} has {len(text)} characters", "a name has 64 at most"
    return (
        f"{shown(text)} is not a name",
        "a name starts with a letter A-Z or a-z and goes on with letters, digits, - and _",
    )


def explain_host(text: str) -> Explanation:
    """Say what is wrong with a host name or IP address."""
    what = f"{shown(text)} is not a host"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        # A zone may hold anything, and only interface names make sense.
        zone = text.partition("%")[2]
        return None if _LABEL.fullmatch(zone or "x") else (what, "write the zone of the address as %eth0")
    if not text:
        return "an empty host", "write a host name or an IP address, or leave `host` out for localhost"
    scheme = _SCHEME.match(text)
    if scheme:
        return what, f"leave out {scheme[0]}; for wss:// write `tls: true`"
    if any(char.isspace() for char in text):
        return what, "a host has no spaces"
    if "/" in text or "\\" in text:
        return what, "a host has no slash; a channel is named when it is dialled"
    if text.startswith("["):
        return what, "write an IPv6 address without brackets, and its port in `port`"
    if _WITH_PORT.fullmatch(text):
        return what, f"write the port in a field of its own: `port: {shown(text.rpartition(':')[2])[1:-1]}`"
    return (what, fix) if (fix := _fix_name_of_host(text)) else None


def _fix_name_of_host(text: str) -> str | None:
    if not text.isascii():
        return "write an international name in its ASCII form, which starts with xn--"
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "write a host name such as pi.local, or an IP address such as 192.168.1.20 or ::1"
    if labels[-1].isdigit():
        return "an IPv4 address has four numbers from 0 to 255, such as 192.168.1.20"
    return None


def explain_sketch(text: str) -> Explanation:
    """Say what is wrong with the reference to a sketch."""
    if _SKETCH.fullmatch(text):
        return None
    what = f"{shown(text)} is not a sketch"
    if text.endswith(".py"):
        return what, f"name the class as well: {shown(text + ':ClassName')}"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+", text):
        return what, f"name the class as well, after a colon: {shown(text + ':ClassName')}"
    return what, "write the name of a shipped sketch, or file.py:ClassName, or package.module:ClassName"


def explain_argument(text: str) -> Explanation:
    """Say what is wrong with the name of an argument."""
    if _ARGUMENT.fullmatch(text):
        return None
    fix = "write it as in `setup()` of the sketch: letters, digits and _, no digit first"
    return f"{shown(text)} is not the name of an argument", fix


def explain_channel(text: str) -> Explanation:
    """Say what is wrong with the name of a channel that is subscribed to."""
    if not text:
        return "a channel without a name", "write the name of the channel, such as tick"
    if text.startswith("$"):
        return (
            f"channel {shown(text)} is reserved",
            "names that begin with $ are the mesh's own; write another",
        )
    if len(text) > MAX_CHANNEL:
        return (
            f"the name of channel {shown(text)} is too long",
            f"write at most {MAX_CHANNEL} characters",
        )
    return None


def explain_origin(text: str) -> Explanation:
    """Say what is wrong with the origin of a web page."""
    if "*" in text:
        return f"{shown(text)} has a star", "list each origin; a star would let any page drive the hardware"
    match = _ORIGIN.fullmatch(text)
    if match and (not match[2] or 1 <= int(match[2][1:]) <= 65535):
        return None
    what = f"{shown(text)} is not an origin"
    if match:
        return what, "a port is from 1 to 65535"
    scheme = _SCHEME.match(text)
    if not scheme:
        return what, "write the scheme too, such as http://pi.local:8000"
    if scheme[0].lower() == "file://":
        return what, "a page from a file has the origin null; serve it over http instead"
    if any(char in text[scheme.end() :] for char in "/?#"):
        return what, f"an origin has no path: {shown(re.match('[^/?#]*//[^/?#]*', text)[0])}"  # type: ignore[index]
    return what, "write scheme://host or scheme://host:port, such as http://pi.local:8000"


def normal_origin(text: str) -> str:
    """Return a well-formed origin as a browser sends it: lower case, no default port."""
    scheme, separator, rest = text.lower().partition("://")
    if not separator:
        return text  # null
    default = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{rest.removesuffix(f':{default}') if default else rest}"


def same_host_key(host: str) -> str:
    """Return one key for all ways to write the same host; loopback is one host."""
    if is_loopback(host):
        return "localhost"
    name = host.removesuffix(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)

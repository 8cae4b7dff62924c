"""The difference of two grids: what a new one would start, restart and stop, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

from mesh.node import Node, is_loopback

_LIVE = ("aliases", "peers", "subscribes", "restart")
# Everything else a worker reads when it starts.
_RESTARTS = tuple(field.name for field in fields(Node) if field.name not in (*_LIVE, "name", "file", "marks"))
_SHOWN = {"sketch": "sketch", "socket": "host", "port": "port", "target": "target", "tls": "tls"}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one node.

    Attributes:
        name: The node.
        sign: ``+`` for a new one, ``~`` for a changed one, ``-`` for a removed one.
        what: For people: what it is, or which fields are different.
        restarts: Whether a process of this machine starts, is started again, or stops for it.

    """

    name: str
    sign: str
    what: str
    restarts: bool

    def __str__(self) -> str:
        return f"{self.sign} {self.name}: {self.what}"

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        kind = {"+": "add", "~": "change", "-": "remove"}[self.sign]
        return {"node": self.name, "change": kind, "what": self.what, "restarts": self.restarts}


def is_ours(node: Node) -> bool:
    """Whether ``mesh up`` starts a node: it has a sketch, and its host is this machine."""
    return node.sketch is not None and is_loopback(node.host)


def restarting(before: Node, after: Node) -> list[str]:
    """Return the fields that are different and make a new start necessary."""
    return [_SHOWN.get(field, field) for field in _different(before, after, _RESTARTS)]


def difference(before: Iterable[Node], after: Iterable[Node]) -> list[Change]:
    """Return what is different, in the order of the new grid; removed nodes come last."""
    old = {node.name: node for node in before}
    new = {node.name: node for node in after}
    changes = [_compared(old.get(name), node) for name, node in new.items()]
    gone = [_removed(node) for name, node in old.items() if name not in new]
    return [change for change in changes if change is not None] + gone


def _compared(old: Node | None, new: Node) -> Change | None:
    if old is None:
        return Change(new.name, "+", _described(new), restarts=is_ours(new))
    again = _different(old, new, _RESTARTS)
    live = _different(old, new, _LIVE)
    if not again and not live:
        return None
    words = [_from_to(old, new, field) for field in (*again, *live)]
    if again and (is_ours(old) or is_ours(new)):
        how = "restarts" if is_ours(old) and is_ours(new) else "starts" if is_ours(new) else "stops"
        return Change(new.name, "~", f"{', '.join(words)}; {how}", restarts=True)
    how = "is dialled there" if again else "without a restart"
    return Change(new.name, "~", f"{', '.join(words)}; {how}", restarts=False)


def _removed(node: Node) -> Change:
    return Change(
        node.name, "-", "drains and stops" if is_ours(node) else "is not known any more", is_ours(node)
    )


def _described(node: Node) -> str:
    where = f" on {node.host}:{node.port}" if node.port else ""
    if is_ours(node):
        return f"{node.sketch}{where}; starts"
    return f"{node.sketch or 'run by somebody else'}{where}; not started here"


def _different(before: Node, after: Node, fields: Collection[str]) -> list[str]:
    return [field for field in fields if getattr(before, field) != getattr(after, field)]


def _from_to(old: Node, new: Node, field: str) -> str:
    if field in _SHOWN:
        return f"{_SHOWN[field]} {_word(getattr(old, field))} -> {_word(getattr(new, field))}"
    return field


def _word(value: object) -> str:
    return "none" if value is None else str(value)

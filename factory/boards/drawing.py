"""A board drawn in a terminal, from the state that its node tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mesh.text import printable


def draw(name: str, state: Any) -> str:
    """Return a board as lines: each pin with mode, level and owner, then its parts."""
    if not isinstance(state, Mapping) or "pins" not in state:
        return printable(f"{name}: no board; asked for its pins, it answers {str(state)[:40]!r}")
    lines = [f"{name}: {state['title']}" + (f", LOST: {state['lost']}" if state["lost"] else "")]
    lines += [f"  ! {short}" for short in state["shorts"]]
    lines += [f"  ! {count} bytes dropped from {wire}" for wire, count in state.get("dropped", {}).items()]
    lines += _firmware_of(state.get("firmware"))
    for pin in state["pins"]:
        value = value_of(pin)
        light = {"0": "○", "1": "●"}.get(value, " ") if "level" in pin or value in ("0", "1") else " "
        owner = f"  owner {pin['owner']}" if pin["owner"] else ""
        also = f"  {' '.join(pin['functions'])}" if pin["functions"] else ""
        mode = "" if pin["mode"] == "UNSET" else pin["mode"]
        lines.append(f"  {pin['name']:>3} {light} {mode:<12} {value:>6}{owner}{also}".rstrip())
    if state["parts"]:
        lines.append("  parts:")
        lines += [f"    {part}: {look}" for part, look in state["parts"].items()]
    return "\n".join(printable(line) for line in lines)


def _firmware_of(state: Mapping[str, Any] | None) -> list[str]:
    if state is None:
        return []
    behind = f", {state['behind']:.1f} s behind" if state["behind"] >= 0.1 else ""
    lines = [f"  {state['name']} runs in {state['engine']}{behind}"]
    if state["stopped"]:
        lines.append(f"  ! it stands still: {state['stopped']}; a reset brings it back")
    if state["restarts"]:
        lines.append(f"  ! restarted by its watchdog: {state['restarts']} times")
    return lines


def value_of(pin: Mapping[str, Any]) -> str:
    """Return what a pin is at, in the terms of its mode."""
    mode = pin["mode"]
    if mode == "ANALOG":
        return str(pin["analog"])
    if mode == "PWM":
        return f"{pin.get('duty', 0)}/255"
    if mode == "SERVO":
        return f"{pin.get('angle', 0)}°"
    if pin.get("tone"):
        return f"{pin['tone']} Hz"
    if mode == "UNSET":
        return ""
    return str(pin.get("level", 0))

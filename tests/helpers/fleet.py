"""The three nodes of the source as processes, on the shipped ports or on free ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.helpers.ports import free_ports
from tests.helpers.proc import Proc, arduino

VERBATIM = {
    "buzzer": "./arduino.py buzzer --port 8766",
    "iopin": "./arduino.py iopin --port 8765",
    "clock": "./arduino.py clock --port 8765",
}
"""The three commands of the source, one for each terminal."""

UP = {"buzzer": r"serving on localhost:\d+$", "iopin": r"serving on localhost:\d+$", "clock": r"\] > \d+$"}
"""By sketch, the line that shows that it is up, whoever else is."""


def write_grid(folder: Path, text: str, *, name: str = "grid.yaml") -> Path:
    """Write a grid file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def trio_grid(folder: Path, *, delay: float = 0.05, more: str = "") -> tuple[Path, int, int]:
    """Write a grid of clock, blink and buzzer on free ports; return it with the last two's ports."""
    pin, buzzer = free_ports(2)
    text = f"""\
nodes:
  clock: {{sketch: clock, target: blink, args: {{delay: {delay}}}}}
  blink: {{sketch: iopin, port: {pin}, aliases: [iopin], args: {{chance: 0.6, seed: 1}}}}
  buzzer: {{sketch: buzzer, port: {buzzer}, args: {{sound: buzz buzz buzz}}}}
{more}"""
    return write_grid(folder, text), pin, buzzer


@contextmanager
def trio(grid: Path, env: Mapping[str, str | None] | None = None) -> Iterator[dict[str, Proc]]:
    """Run the three sketches of a grid, by the name of the sketch."""
    with ExitStack() as stack:
        yield {
            sketch: stack.enter_context(arduino(sketch, env={"MESH_GRID": str(grid), **(env or {})}))
            for sketch in UP
        }


def wait_until_they_talk(fleet: Mapping[str, Proc], since: Mapping[str, int] | None = None) -> None:
    """Wait until a tick has gone round: clock to pin, pin to buzzer, and both acks back."""
    since = since or {}
    fleet["clock"].wait_for(r"^\[ clock \] < acknowledged$", since=since.get("clock", 0))
    fleet["iopin"].wait_for(r"\] < (buzz buzz buzz|\.\.\.)$", since=since.get("iopin", 0))
    fleet["buzzer"].wait_for(
        r"signal [01] received -> (buzz buzz buzz|\.\.\.)$", since=since.get("buzzer", 0)
    )


def marks(fleet: Mapping[str, Proc]) -> dict[str, int]:
    """Return where the output of each process stands now."""
    return {name: proc.mark for name, proc in fleet.items()}

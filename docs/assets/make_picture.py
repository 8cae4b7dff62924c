#!/usr/bin/env python3
"""Draw ``fleet.svg``, the picture in the README, from what a real fleet prints.

Run it by hand, in a checkout that is set up, when the output has changed::

    .venv/bin/python docs/assets/make_picture.py

It runs the fleet of the grid on free ports in a terminal of its own, as `make up`
does, presses Ctrl-C after a few ticks and draws the lines, all that were printed from
one tick on. Look at the result before you commit it.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("fleet.svg")

COLUMNS = 90
ROWS = 24
LINE, CHAR, LEFT, TOP = 20, 8.43, 20, 62  # pixels

BACKGROUND, BAR, TEXT, DIM = "#0d1117", "#161b22", "#d7dee7", "#7d8794"
# The colours that honcho gives out, in shades that are easy on the eye.
ANSI = {"36": "#56d4dd", "33": "#e3b341", "32": "#6bd968", "35": "#d2a8ff", "31": "#ff7b72", "34": "#79c0ff"}
FONTS = "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"
SIGNAL = {"buzz buzz buzz": "#ffa657"}
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lines_of(terminal: int) -> Iterator[str]:
    """Give the lines that are printed on a terminal until it is closed."""
    rest = b""
    with contextlib.suppress(OSError):  # the end of a pseudo-terminal is an error
        while chunk := os.read(terminal, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode().rstrip("\r")


def capture() -> list[str]:
    """Run the fleet and return what it prints, from its second tick to its end."""
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder, "grid.yaml")
        text = (ROOT / "grid.yaml").read_text(encoding="utf-8")
        for port in ("8765", "8766"):
            text = text.replace(port, str(free_port()))
        grid.write_text(text, encoding="utf-8")
        ours, theirs = pty.openpty()
        fleet = subprocess.Popen(
            [sys.executable, "-m", "factory.cli.fleet", "up"],
            cwd=ROOT,
            env=os.environ | {"MESH_GRID": str(grid)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        printed: list[str] = []
        for line in lines_of(ours):
            if printed or line.endswith("[ clock ] > 1"):
                printed.append(line)
            if len(printed) == ROWS:
                fleet.send_signal(signal.SIGINT)
        if fleet.wait() != 0:
            raise SystemExit("the fleet did not stop cleanly; nothing was drawn")
    return printed


def spans(line: str) -> Iterator[tuple[str, str]]:
    """Give the parts of a line with the colour of each."""
    colour = TEXT
    for index, part in enumerate(ESCAPE.split(line)):
        if index % 2:
            colour = next((ANSI[code] for code in part.split(";") if code in ANSI), TEXT)
        elif part:
            for words in re.split(f"({'|'.join(SIGNAL)})", part):
                if words:
                    yield words, SIGNAL.get(words, colour)


def rows(lines: list[str]) -> Iterator[list[tuple[int, str, str]]]:
    """Give each row of the screen: column, words and colour of its parts. What is too long is wrapped."""
    for line in lines:
        row: list[tuple[int, str, str]] = []
        column = 0
        for words, colour in spans(line):
            rest = words
            while rest:
                fits = rest[: COLUMNS - column]
                row.append((column, fits, colour))
                rest, column = rest[len(fits) :], column + len(fits)
                if column == COLUMNS:
                    yield row
                    row, column = [], 0
        yield row


def draw(lines: list[str]) -> str:
    """Return the picture of a terminal with these lines."""
    screen = list(rows(lines))
    width, height = round(2 * LEFT + COLUMNS * CHAR), TOP + LINE * (len(screen) - 1) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"',
        f' height="{height}" role="img" aria-label="make up runs the clock, the pin and the buzzer">',
        f'<rect width="{width}" height="{height}" rx="10" fill="{BACKGROUND}"/>',
        f'<path d="M0 36V10A10 10 0 0 1 10 0H{width - 10}A10 10 0 0 1 {width} 10V36Z" fill="{BAR}"/>',
        *(
            f'<circle cx="{20 + 20 * index}" cy="18" r="6" fill="{fill}"/>'
            for index, fill in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
        f'<g font-family="{FONTS}" font-size="14" xml:space="preserve">',
        f'<text x="{width / 2:g}" y="23" fill="{DIM}" text-anchor="middle">make up</text>',
    ]
    for number, row in enumerate(screen):
        for column, words, colour in row:
            if words.strip():
                # Where each part stands and how wide it is, whatever font there is.
                x, y, wide = LEFT + column * CHAR, TOP + LINE * number, len(words) * CHAR
                place = f'x="{x:.1f}" y="{y}" textLength="{wide:.1f}"'
                parts.append(f'<text {place} fill="{colour}">{escape(words)}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def main() -> None:
    """Capture and draw."""
    PICTURE.write_text(draw(capture()), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()

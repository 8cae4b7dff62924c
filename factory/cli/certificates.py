"""``mesh cert``: certificates of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from factory.cli.shared import explained


@click.group()
def cert() -> None:
    """Make certificates, for nodes that speak TLS."""


@cert.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("certs"))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A further name or address by which the nodes are dialled; may be given many times.",
)
@explained
def init(folder: Path, hosts: tuple[str, ...]) -> None:
    """Make a local authority, and a certificate for localhost and the hosts given.

    They are written to FOLDER, which is certs unless another is given. An authority that is there signs
    again; nothing is overwritten.
    """
    from factory.authority import AUTHORITY, CERT, KEY, init

    made = init(folder, hosts)
    for path in made:
        click.echo(f"made {path}", err=True)
    cert, key, authority = (folder / name for name in (CERT, KEY, AUTHORITY))
    click.echo(
        f"for a node of the grid in this folder:\n"
        f"  tls: {{cert: {cert}, key: {key}, authority: {authority}}}\n"
        f"next: {shlex.join(['./arduino.py', 'rooms', '--tls-cert', str(cert), '--tls-key', str(key)])}",
        err=True,
    )


COMMANDS = (cert,)
"""Certificates: an authority of one's own, and what it signs."""

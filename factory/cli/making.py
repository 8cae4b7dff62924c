"""``mesh new`` and ``mesh completion``: what one types less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from factory.cli.shared import explained, given_grid, grid_option, json_option


def _name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from mesh.gridfile.address import explain_name

    complaint = explain_name(value)
    if complaint:
        raise click.BadParameter("; ".join(complaint))
    return value


@click.group()
def new() -> None:
    """Make a sketch, or a fleet."""


@new.command()
@click.argument("name", callback=_name)
@grid_option
@click.option("-p", "--port", type=click.IntRange(1, 65535), metavar="N", help="Port.  [default: a free one]")
@json_option
@explained
def sketch(name: str, path: Path | None, port: int | None, as_json: bool) -> None:
    """Make NAME.py beside the grid, and a node NAME in the grid.

    The grid keeps its comments and its order. A fleet that is up starts the node at once.
    """
    from factory.looking.making import (
        SKETCH,
        CannotMakeError,
        class_name,
        free_port,
        rewrite,
        with_node,
        write_new,
    )
    from mesh.gridfile.locate import locate, shipped

    grid = locate(given_grid(path))
    if not grid.is_file() or grid == shipped():
        raise CannotMakeError(
            "there is no grid.yaml here; make one by `mesh new fleet NAME`, or name it: --grid"
        )
    text = grid.read_bytes().decode()
    file = grid.parent / f"{name.replace('-', '_')}.py"
    port = port or free_port(text)
    changed = with_node(text, name, f"{file.name}:{class_name(name)}", port)
    write_new(file, SKETCH.format(name=class_name(name)))
    rewrite(grid, changed)
    click.echo(f"{file} is the sketch, and {grid} has the node {name}", err=True)
    if as_json:
        _tell(grid, file, name, port)


@new.command()
@click.argument("name", callback=_name)
@json_option
@explained
def fleet(name: str, as_json: bool) -> None:
    """Make a folder NAME with a grid and one sketch, `hello`."""
    from factory.looking.making import FIRST_PORT, GRID, SKETCH, write_new

    folder = Path(name)
    write_new(folder / "grid.yaml", GRID.format(node="hello", file="hello.py", name="Hello", port=FIRST_PORT))
    write_new(folder / "hello.py", SKETCH.format(name="Hello"))
    click.echo(f"made {folder / 'grid.yaml'} and {folder / 'hello.py'}; next: cd {name} && mesh up", err=True)
    if as_json:
        _tell(folder / "grid.yaml", folder / "hello.py", "hello", FIRST_PORT)


def _tell(grid: Path, file: Path, node: str, port: int) -> None:
    click.echo(json.dumps({"grid": str(grid), "sketch": str(file), "node": node, "port": port}))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print what makes a shell complete verbs, options, and the names of nodes and channels.

    \b
    bash:  eval "$(mesh completion bash)"     in ~/.bashrc
    zsh:   eval "$(mesh completion zsh)"      in ~/.zshrc
    fish:  mesh completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind: Any = get_completion_class(shell)
    root = ctx.find_root().command
    # Not source(), which runs the shell to learn its version.
    source = kind(root, {}, "mesh", "_MESH_COMPLETE")
    click.echo(source.source_template % source.source_vars())


COMMANDS = (new, completion)

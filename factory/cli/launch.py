"""``arduino.py``: launch one sketch."""

from __future__ import annotations

import inspect
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.types import IntParamType

import mesh
from factory import find, identity, options, output
from factory.cli.printing import Printing
from factory.errors import FactoryError, SketchNotFoundError
from factory.loop import FactoryLoop, OnError
from factory.supervised import supervised
from factory.trouble import named, place
from mesh.node import Tls

T = TypeVar("T")

# Only the newest click can be subscripted, and mypy asks for it.
if TYPE_CHECKING:
    _AnyType = click.ParamType[str]
else:
    _AnyType = click.ParamType

LEVELS = ["debug", "info", "warning", "error"]


class PortNumber(IntParamType):
    """A TCP port.

    Args:
        lowest: The lowest that makes sense; 0 asks the system for a free one.

    """

    def __init__(self, lowest: int) -> None:
        self._lowest = lowest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the port, or fail with a sentence that says what was expected."""
        text = str(value)
        if not (text.isascii() and text.isdigit() and self._lowest <= int(text) <= 65535):
            self.fail(
                f"{text!r} is not a port; write a whole number from {self._lowest} to 65535.", param, ctx
            )
        return int(text)


class TcpAddress(_AnyType):
    """``PORT`` or ``HOST:PORT``, where lines are spoken; port 0 asks the system for a free one."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address as ``tcp://HOST:PORT``, or fail with a sentence that says what was expected."""
        # Late: --help has no use for it.
        from mesh.lines import tcp_url

        try:
            return tcp_url(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class NodeName(_AnyType):
    """The name of a node, as a grid could have it."""

    name = "node"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the rule for names."""
        # Late: with the grids comes YAML, which --help has no use for.
        from mesh.gridfile.address import explain_name

        complaint = explain_name(str(value))
        if complaint:
            self.fail("; ".join(complaint), param, ctx)
        return str(value)


def common_options(*, client_only: bool) -> list[click.Option]:
    """Return the options that every sketch has.

    Args:
        client_only: Whether the sketch serves nobody, so that socket and port are its
            target's.

    """
    whose = "The target's" if client_only else "This node's"
    host = "host to send to" if client_only else "host to serve on"
    port = "port to send to" if client_only else "port to serve on"
    fallback = "the grid's target, else 8765" if client_only else "the grid's, else $PORT, else 8765"
    # Who serves nobody opens no door; what it dials is for its setup() to ask.
    doors = [
        click.Option(
            ["--tcp"],
            type=TcpAddress(),
            metavar="[HOST:]PORT",
            help="Serve lines over TCP, as netcat does.  [default HOST: localhost]",
        ),
        click.Option(
            ["--tls-cert"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Serve with TLS, showing this certificate (`mesh cert init` makes one).",
        ),
        click.Option(
            ["--tls-key"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The key of the certificate.  [default: in the same file]",
        ),
    ]
    return [
        click.Option(
            ["-s", "--socket"], metavar="HOST", help=f"{whose} {host}.  [default: the grid's, else localhost]"
        ),
        click.Option(
            ["-p", "--port"],
            type=PortNumber(1 if client_only else 0),
            metavar="N",
            help=f"{whose} {port}.  [default: {fallback}]",
        ),
        *([] if client_only else doors),
        click.Option(["--target"], metavar="NODE", help="The node to send to, by its name in the grid."),
        click.Option(
            ["--grid"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The grid.  [default: $MESH_GRID, else ./grid.yaml, else the shipped one]",
        ),
        click.Option(
            ["--name"],
            type=NodeName(),
            metavar="NODE",
            help="The node to run as.  [default: the grid's node for this sketch]",
        ),
        click.Option(
            ["--on-error"],
            type=click.Choice(get_args(OnError)),
            help="What becomes of a message whose handler raises.  [default: the grid's, else the sketch's]",
        ),
        click.Option(
            ["--log-level"], type=click.Choice(LEVELS), help="How much the machinery says.  [default: info]"
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(["pretty", "json"]),
            help="Shape of every line.  [default: pretty]",
        ),
        click.Option(
            ["--wire"],
            is_flag=True,
            default=None,
            help="Show every message of every connection, both ways, on stderr.",
        ),
        click.Option(["-q", "--quiet"], is_flag=True, default=None, help="Only warnings from the machinery."),
    ]


class Launcher(Printing):
    """A group whose commands are sketches: the shipped ones, and any file or module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the shipped sketches, in the order of the lessons."""
        return list(find.shipped())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the command that runs a sketch."""
        return _explained(lambda: _command(cmd_name, ctx.params.get("grid")))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word, whatever it looks like."""
        return args[0], self.get_command(ctx, args[0]), args[1:]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show what else a SKETCH may be."""
        with formatter.section("Your own"):
            formatter.write_dl(
                [
                    ("FILE.py:Class", "a sketch in a file"),
                    ("PACKAGE.MODULE:Class", "a sketch in a module"),
                ]
            )
        formatter.write_paragraph()
        formatter.write_text("arduino.py SKETCH --help explains one, with the options of its own.")


def _group() -> Launcher:
    return Launcher(
        name="arduino.py",
        help="Launch one sketch: it serves its channels, finds its peers in grid.yaml and streams to them.",
        params=list(common_options(client_only=False)),
        subcommand_metavar="SKETCH [OPTIONS]",
        callback=_remember,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
    )


@click.pass_context
def _remember(ctx: click.Context, /, **given: Any) -> None:
    """Keep what stood before the sketch's name; it counts as if it stood behind."""
    ctx.obj = {name: value for name, value in given.items() if value is not None}


def _command(reference: str, grid: Path | None) -> click.Command:
    try:
        sketch = find.find_sketch(reference, Path.cwd())
    except SketchNotFoundError as exc:
        hint = _as_a_node(reference, grid)
        # The name of a node is no misspelt sketch.
        raise SketchNotFoundError(f"{find.UNKNOWN}{hint}" if hint else str(exc)) from exc
    common = common_options(client_only=sketch.plan.is_client_only)
    own = options.setup_options(sketch, taken={str(option.name) for option in common} | {"help"})
    _give_letters(own, common)
    words = inspect.cleandoc(sketch.__doc__ or "A sketch of your own.").split("\n\nArgs:")[0]

    @click.pass_context
    def run(ctx: click.Context, /, **given: Any) -> None:
        values = {name: value for name, value in given.items() if value is not None}
        values = {**(ctx.obj or {}), **values}
        _explained(lambda: _launch(sketch, reference, values))

    return click.Command(
        reference,
        callback=run,
        params=[*own, *common],
        help=words,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _as_a_node(name: str, path: Path | None) -> str:
    """Say how to launch a node of the grid, for who gave its name in the place of a sketch's.

    Args:
        name: What was given.
        path: The ``--grid`` that stood before it, if one did.

    """
    try:
        grid = mesh.grid(path)
    except mesh.GridError:
        return ""
    node = grid.get(name)
    if node is None or node.sketch is None:
        return ""
    module, colon, own = node.sketch.partition(":")
    if module.endswith(".py"):
        # The grid means its own folder, the command line the one that we are in.
        module = os.path.relpath(identity.grid_folder(grid) / module)
    words = [
        "./arduino.py",
        *(["--grid", str(path)] if path else []),
        f"{module}{colon}{own}",
        "--name",
        name,
    ]
    return f"; {name} is a node of the grid: {shlex.join(words)}"


def _give_letters(own: Sequence[click.Option], common: Sequence[click.Option]) -> None:
    """Give each option of the sketch's own its first letter too (``-t`` for ``--tacks``), if it is free."""
    taken = {flag for option in common for flag in option.opts} | {"-h"}
    for option in own:
        letter = f"-{str(option.name)[0]}"
        if letter not in taken and letter[1].isalpha():
            taken.add(letter)
            option.opts.insert(0, letter)


def _launch(sketch: type[FactoryLoop], reference: str, values: dict[str, Any]) -> None:
    level = "warning" if values.get("quiet") else values.get("log_level") or "info"
    output.configure(values.get("log_format") or "pretty", getattr(logging, level.upper()))
    if values.get("wire"):
        from mesh.transport.tapping import Tap, tap_process

        tap_process(Tap(lambda line: click.echo(line, err=True)))
    base = Path.cwd()
    supervision = supervised()
    grid = supervision.grid() if supervision else mesh.grid(values.get("grid") or sketch.registry)
    me = identity.identify(reference, find.own_name(reference, sketch), values.get("name"), grid, base)
    other = identity.mismatch(me, reference, grid, base)
    if other:
        logging.getLogger("factory.launch").warning(other, extra={"node": me.name})
    own = {option.name for option in options.setup_options(sketch, taken=set())}
    if sketch.plan.is_client_only and values.get("tcp") and "tcp" not in own:
        raise click.UsageError(f"{me.name} serves nobody, so --tcp is nothing for it; leave it out")
    me = _with_certificate(me, values, serves=not sketch.plan.is_client_only)
    from_grid = {} if other else options.grid_arguments(sketch, me)
    arguments = from_grid | {name: value for name, value in values.items() if name in own}
    lacking = options.missing(sketch, arguments)
    if lacking:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in lacking)
        raise click.UsageError(f"{me.name} needs {flags} (or `args:` in the grid)")
    # What setup() finds wrong may be any of them: the grid is to blame only if it gave all.
    where = f"{me.where('args')}: " if arguments and arguments == from_grid else ""
    # Now, so that what it cannot import is not put down to setup().
    import_module("factory.worker")
    try:
        made = sketch.as_node(me, grid, **arguments)
    except (mesh.MeshError, FactoryError, SystemExit, KeyboardInterrupt):
        raise
    except ValueError as exc:
        # What setup() says of its arguments is for whoever gave them.
        raise click.UsageError(f"{where}{me.name}: {exc}") from exc
    except BaseException as exc:
        raise click.ClickException(f"{where}{me.name}: setup() raised {named(exc)}{place(exc)}") from exc
    made._worker.args_at = where
    if values.get("target"):
        made.target = made.node(values["target"])
        if values.get("port") is None or not sketch.plan.is_client_only:
            made.target.check()  # says so now, not at every message, if it has no port
    if values.get("on_error"):
        made.on_error = values["on_error"]
    if values.get("tcp") and not sketch.plan.is_client_only:
        made.line_door = values["tcp"]
    made.run(values.get("socket"), values.get("port"))


def _with_certificate(me: mesh.Node, values: dict[str, Any], *, serves: bool) -> mesh.Node:
    """Return the node with the certificate that was given on the command line, if one was."""
    cert, key = values.get("tls_cert"), values.get("tls_key")
    if cert is None and key is None:
        return me
    if not serves:
        raise click.UsageError(f"{me.name} serves nobody, so --tls-cert is nothing for it; leave it out")
    if cert is None:
        raise click.UsageError("--tls-key is the key of a certificate; add --tls-cert FILE")
    authority = me.tls.authority if isinstance(me.tls, Tls) else None
    # Without the marks of the grid, so that what is wrong with a file is not put down to it.
    marks = {path: mark for path, mark in me.marks.items() if path[:1] != ("tls",)}
    return replace(me, tls=Tls(str(cert), None if key is None else str(key), authority), marks=marks)


def _explained(call: Callable[[], T]) -> T:
    """Turn the errors of people's input into a sentence and an exit code."""
    try:
        return call()
    except (SketchNotFoundError, mesh.GridError) as exc:
        raise _BadInput(str(exc)) from exc
    except (FactoryError, mesh.MeshError) as exc:
        raise click.ClickException(str(exc)) from exc


class _BadInput(click.ClickException):
    exit_code = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; does not return."""
    supervised()  # from here on it ends with its supervisor, whatever the sketch does
    _group().main(args=None if arguments is None else list(arguments), prog_name="arduino.py")


if __name__ == "__main__":  # how `mesh up` starts a node
    main()

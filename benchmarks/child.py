"""The processes of a peer: ``python -m benchmarks.child receive|send|subscribe|listen VARIANT ...``.

Each says what it has to say in lines of JSON on standard output; whatever the peer
prints goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from importlib import import_module
from typing import Any, TextIO, cast

from benchmarks.api import At, Job, PeerModule
from benchmarks.fanout import FanModule, subscribers
from benchmarks.registry import BY_NAME, Variant
from benchmarks.silent import Mixed, listeners
from benchmarks.workloads import measure


def main() -> None:
    """Be a receiver, a sender or all subscribers of a fan-out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["receive", "send", "subscribe", "listen"])
    parser.add_argument("variant", choices=list(BY_NAME))
    parser.add_argument(
        "--port", type=int, default=0, help="what a sender connects to, and a receiver with a broker"
    )
    parser.add_argument("--workloads", default="", help="names, separated by commas")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--pids", default="", help="whose memory is watched")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that one workload may take")
    parser.add_argument("--count", type=int, default=1, help="how many subscribers")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-uvloop", action="store_true")
    arguments = parser.parse_args()
    variant = BY_NAME[arguments.variant]
    module = cast("PeerModule", import_module(variant.module))

    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if arguments.role == "send":
        work = _send(module, variant, arguments, report)
    elif arguments.role == "subscribe":
        fan = cast("FanModule", module)
        at = At(variant.name, arguments.port)
        work = subscribers(fan, at, arguments.count, variant.text, lambda words: _say(words, report))
    elif arguments.role == "listen":
        at = At(variant.name, arguments.port)
        work = listeners(cast("Mixed", module), at, arguments.count, lambda words: _say(words, report))
    else:
        work = module.receive(Job(variant.name, arguments.port, lambda port: _say({"port": port}, report)))
    with asyncio.Runner(loop_factory=loop_factory(variant, arguments.no_uvloop)) as runner:
        runner.run(work)


def loop_factory(variant: Variant, no_uvloop: bool) -> Any:
    """Return what makes a variant's event loop; ``None`` stands for asyncio's own."""
    if no_uvloop or not variant.uvloop:
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say(words: object, report: TextIO) -> None:
    print(json.dumps(words), file=report)


async def _send(module: PeerModule, variant: Variant, arguments: argparse.Namespace, report: TextIO) -> None:
    outcome: dict[str, dict[str, Any]] = {}
    pids = [int(pid) for pid in arguments.pids.split(",") if pid]
    for workload in arguments.workloads.split(","):
        try:
            async with asyncio.timeout(arguments.patience):
                figures = await measure(
                    workload,
                    module,
                    variant,
                    arguments.port,
                    seconds=arguments.seconds,
                    pids=pids,
                    quick=arguments.quick,
                    uvloop=not arguments.no_uvloop,
                )
        except Exception as exc:
            words = "took too long" if isinstance(exc, TimeoutError) else f"{type(exc).__name__}: {exc}"
            outcome[workload] = {"error": words}
        else:
            outcome[workload] = {"figures": figures}
    _say(outcome, report)


if __name__ == "__main__":
    main()

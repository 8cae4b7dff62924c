#!/usr/bin/env python3
"""Launch one sketch: ``./arduino.py buzzer``; ``./arduino.py --help`` lists them.

All that is done here is to find a Python that has what the sketches need: this
one, else that of the ``.venv`` beside this file. The launcher itself is
``factory.cli.launch``. This file is written so that every Python can read it,
however old, and say what is wrong.
"""

import os
import signal
import sys

OLDEST = (3, 11)
REQUIRED = ("click", "msgspec", "websockets", "yaml")
# Those of them that are imported when a sketch runs, too late to look for another Python;
# what stands behind the dot is what older ones lack.
LATE = ("websockets.asyncio", "yaml")
# Set for the Python of .venv, so that it does not start itself once more.
GUARD = "SKETCHMESH_REEXECUTED"


def main():
    # type: () -> None
    """Run the launcher, which ends the program itself."""
    from factory.cli.launch import main as launch

    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    launch()


def _leave(*_):
    # type: (object) -> None
    os._exit(130)


def _look_for_late_ones():
    # type: () -> None
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    for name in LATE:
        package, _, part = name.partition(".")
        found = find_spec(package)
        if found and part:
            found = PathFinder.find_spec(name, found.submodule_search_locations)
        if not found:
            raise ModuleNotFoundError("No module named {!r}".format(name), name=package)


def _start():
    # type: () -> int
    here = os.path.dirname(os.path.realpath(__file__))
    if here not in sys.path:  # python -P and PYTHONSAFEPATH leave it out
        sys.path.insert(0, here)
    settled = os.environ.pop(GUARD, None) is not None
    own = settled or os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(here, ".venv"))
    if sys.version_info < OLDEST:
        trouble = "Python 3.11 or newer is needed, and this is {}.{}".format(*sys.version_info[:2])
    else:
        # Ctrl-C while it imports ends it without a word; not if it is ignored, as it is behind `&`.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)
        try:
            import factory.cli.launch  # noqa: F401

            _look_for_late_ones()
        except ImportError as error:
            missing = (error.name or "").split(".")[0]
            # Whatever else cannot be imported is a mistake of ours, and so is a
            # name that is missing from a package in our own environment.
            if missing not in REQUIRED or (own and not isinstance(error, ModuleNotFoundError)):
                raise
            trouble = "the package {} is missing or too old".format({"yaml": "pyyaml"}.get(missing, missing))
        else:
            main()
            return 0
    python = os.path.join(here, ".venv", "bin", "python")
    if not own and os.access(python, os.X_OK):
        os.environ[GUARD] = "1"
        os.execv(python, [python] + sys.argv)
    sys.stderr.write("arduino.py: {}; run `make setup` in {}\n".format(trouble, here))
    return 1


if __name__ == "__main__":
    sys.exit(_start())

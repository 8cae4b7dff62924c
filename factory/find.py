"""From a reference to a sketch class.

=============================  ==============================================
``buzzer``                     a shipped sketch, by its class name in any case
``thermostat.py:Thermostat``   a class in a file
``thermostat.py``              the only sketch in a file
``package.module:Class``       a class in a module that can be imported
=============================  ==============================================
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from factory.errors import SketchError, SketchNotFoundError
from factory.loop import FactoryLoop
from mesh.text import closest, did_you_mean, listing

CORE = ("clock", "iopin", "buzzer")
"""The sketches that a hint names, for the whole list is long."""

UNKNOWN = f"unknown sketch, please choose {listing(CORE, 'or')}"
"""What is said first of a name that no shipped sketch has."""


def shipped() -> dict[str, type[FactoryLoop]]:
    """Return the shipped sketches by name, in the order of the lessons."""
    # Imported late: a sketch of the user's own needs none of them.
    sketches = importlib.import_module("sketches")
    return {name.lower(): getattr(sketches, name) for name in sketches.__all__}


def find_sketch(reference: str, base: Path) -> type[FactoryLoop]:
    """Return the sketch class that a reference means.

    Args:
        reference: See the module's text.
        base: Folder that a relative file is looked for in.

    Raises:
        SketchNotFoundError: If there is no such sketch, file, module or class.
        SketchError: If the file or module cannot be imported, or its class is no sketch.

    """
    place, _, name = reference.partition(":")
    if place.endswith(".py"):
        return _pick(_load_file(base / place), place, name)
    if name:
        return _pick(_load_module(place, base), place, name)
    known = shipped()
    if reference.lower() in known:
        return known[reference.lower()]
    near = did_you_mean(reference, known).replace(",", ";", 1)
    if Path(base, f"{reference}.py").is_file():
        near = f"; did you mean the file, {reference}.py?"
    got = f" (got {reference!r}); arduino.py --help lists them all"
    raise SketchNotFoundError(f"{UNKNOWN}{near or got}")


def same_sketch(one: str, one_base: Path, other: str, other_base: Path) -> bool:
    """Say whether two references mean one sketch, without importing anything."""
    (one_place, one_class), (other_place, other_class) = _key(one, one_base), _key(other, other_base)
    # A file without a class means the only sketch in it.
    return one_place == other_place and (one_class == other_class or "" in (one_class, other_class))


def own_name(reference: str, sketch: type[FactoryLoop]) -> str:
    """Return the name that a sketch goes by when nobody gives it another."""
    return sketch.__name__.lower() if ":" in reference or reference.endswith(".py") else reference.lower()


def _key(reference: str, base: Path) -> tuple[str, str]:
    place, _, name = reference.partition(":")
    if place.endswith(".py"):
        return str((base / place).resolve()), name
    # A shipped sketch is no module, whose name could be the same.
    return (place, name) if name else (f"shipped {place.lower()}", "")


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SketchNotFoundError(f"there is no file {path}{did_you_mean(path.name, siblings)}")
    # The file's own folder comes first, so that it can import what lies beside it.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # Not under its bare stem: thermostat.py must not become what `import json` finds.
    name = f"sketch_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        sys.modules.pop(name, None)
        raise _broken(str(path), exc) from exc
    return module


def _load_module(name: str, base: Path) -> ModuleType:
    if str(base.resolve()) not in sys.path:
        sys.path.insert(0, str(base.resolve()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            raise SketchNotFoundError(
                f"there is no module {exc.name!r}; is it spelled right, and beside you or installed?"
            ) from exc
        raise _broken(name, exc) from exc
    except (Exception, SystemExit) as exc:
        raise _broken(name, exc) from exc


def _pick(module: ModuleType, place: str, name: str) -> type[FactoryLoop]:
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, FactoryLoop) and value.__module__ == module.__name__
    }
    if not name:
        if len(own) == 1:
            return next(iter(own.values()))
        choice = (
            f"holds {listing(own)}: choose one, as in {place}:{next(iter(own))}"
            if own
            else "holds no sketch (a subclass of factory.FactoryLoop)"
        )
        raise SketchNotFoundError(f"{place} {choice}")
    found = getattr(module, name, None)
    if found is None:
        near = closest(name, own)
        there = f", did you mean {near!r}?" if near else f"; it has {listing(own) or 'no sketch at all'}"
        raise SketchNotFoundError(f"{place} has no {name!r}{there}")
    if not (inspect.isclass(found) and issubclass(found, FactoryLoop)):
        raise SketchError(f"{place}:{name} is no sketch; a sketch is a subclass of factory.FactoryLoop")
    return found


def _broken(place: str, exc: BaseException) -> SketchError:
    if isinstance(exc, SyntaxError):
        line = f":{exc.lineno}" if exc.lineno else ""
        return SketchError(f"{exc.filename or place}{line}: {exc.msg}")
    if isinstance(exc, SketchError):
        return exc
    where = place
    trace = exc.__traceback__
    while trace is not None:
        # The innermost line of the sketch's own code, not of what it imports.
        if trace.tb_frame.f_code.co_filename.endswith(Path(place).name):
            where = f"{place}:{trace.tb_lineno}"
        trace = trace.tb_next
    return SketchError(f"{where}: cannot be imported: {type(exc).__name__}: {exc}")

"""Public names that are imported when somebody asks for them, and not before.

Every command begins with ``import mesh``, even one that prints its help and ends; what stands
behind most of the names takes longer to import than such a command may take. A package lists
those names with the modules they are in, and hands the list to ``late_names()``; type checkers, which
never ask, are given plain imports under ``if TYPE_CHECKING:``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def late_names(
    package: str, homes: Mapping[str, Collection[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package (see PEP 562).

    Args:
        package: Its name.
        homes: By module, the public names that are in it; or its own name, if the module is meant.

    """
    itself = sys.modules[package]
    home = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=itself)
        module = import_module(home[name])
        found = module if module.__name__ == f"{package}.{name}" else getattr(module, name)
        setattr(itself, name, found)  # so that nobody asks again
        return found

    def names_of_all() -> list[str]:
        return sorted({*vars(itself), *home})

    return find, names_of_all

"""Examples of the documents, as they stand there, for suites that run them."""

from __future__ import annotations

import sys
from types import ModuleType

from tests.helpers.doc_blocks import blocks
from tests.helpers.proc import ROOT


def example(page: str, word: str) -> ModuleType:
    """Return the Python block of a page that holds a word, as a module.

    Args:
        page: The page, below ``docs/``.
        word: What stands in that block and in no other one.

    """
    found = [
        block for block in blocks(ROOT / "docs" / page) if block.language == "python" and word in block.text
    ]
    assert len(found) == 1, f"{len(found)} blocks of {page} hold {word!r}"
    (block,) = found
    module = ModuleType(f"example_{word.lower()}")
    sys.modules[module.__name__] = module
    exec(compile(block.text, block.place, "exec", dont_inherit=True), module.__dict__)
    return module

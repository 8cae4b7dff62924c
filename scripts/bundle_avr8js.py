"""Make ``factory/boards/avr/js/avr8js.js`` from the npm package avr8js, always the same bytes.

``python scripts/bundle_avr8js.py`` fetches the package with npm, checks it against the digest below, and
puts its CommonJS files one after the other. ``--check`` only says whether the file in the checkout is what
would be made. No bundler is needed: the files require each other and nothing else.

One thing is changed, which makes it a quarter faster: an instruction is not found by asking a hundred
conditions, one after the other, but by a table of their answers for each opcode, which is made at the start.

To take a newer version, change VERSION and INTEGRITY (``npm view avr8js@VERSION dist.integrity``).
"""

from __future__ import annotations

import base64
import hashlib
import io
import posixpath
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.21.1"
INTEGRITY = "sha512-lS1vPaB0gB2GXoPrHFQOUG/5CRORjvnmjbs8SiPZdJpt4HkV0+v6HnNeXxo/X9lPqumqphls2Qyql8zsw9rBaw=="
TARGET = Path(__file__).resolve().parents[1] / "factory" / "boards" / "avr" / "js"
INDEX = "package/dist/cjs/index.js"
DECODER = "package/dist/cjs/cpu/instruction.js"
FETCH = "    const opcode = cpu.progMem[cpu.pc];\n"
NEXT = "    cpu.pc = (cpu.pc + 1) %"
REQUIRE = re.compile(r'\brequire\("([^"]+)"\)')
CONDITION = re.compile(r"^    (?:\}\n    else )?if \(([^{]*?)\) \{$", re.MULTILINE)

HEAD = f"""\
// avr8js {VERSION}, {INTEGRITY}
// MIT licence, see LICENSE.avr8js. Made, with another decoder, by scripts/bundle_avr8js.py; do not edit.
const avr8js = (() => {{
const files = {{}}, loaded = {{}};
const load = (name) => {{
  if (!(name in loaded)) {{
    loaded[name] = {{}};
    files[name](loaded[name], load);
  }}
  return loaded[name];
}};
"""


def fetch() -> bytes:
    """Return the package as npm has it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"avr8js@{VERSION}"]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
        [path] = Path(folder).glob("*.tgz")
        package = path.read_bytes()
    digest = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    if digest != INTEGRITY:
        sys.exit(f"avr8js {VERSION} as downloaded has the digest {digest}, not {INTEGRITY}: do not use it")
    return package


def with_table(decoder: str) -> str:
    """Return the decoder with its chain of conditions as a switch."""
    head, rest = decoder.split(FETCH)
    chain, tail = rest.split(NEXT)
    conditions = CONDITION.findall(chain)
    if len(conditions) < 90 or chain.count("\n    else") != len(conditions) - 1:
        sys.exit("the decoder of this avr8js is written in another way: look at it, then change with_table()")
    answers = "".join(f"    if ({asked}) return {kind};\n" for kind, asked in enumerate(conditions, 1))
    kinds = iter(range(1, len(conditions) + 1))

    def case(_: re.Match[str]) -> str:
        kind = next(kinds)
        return f"{'    break; }' if kind > 1 else '    switch (KINDS[opcode]) {'}\n    case {kind}: {{"

    chain = CONDITION.sub(case, chain)
    table = "const KINDS = Uint8Array.from({ length: 0x10000 }, (_, opcode) => {\n" + answers
    table += "    return 0;\n});\n"
    at = head.index("function avrInstruction")
    return f"{head[:at]}{table}{head[at:]}{FETCH}{chain.rstrip()[:-1]}break; }}\n    }}\n{NEXT}{tail}"


def bundle(package: bytes) -> dict[str, str]:
    """Return the files to keep: name and text."""
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        texts = {
            entry.name: stream.read().decode("utf-8")
            for entry in archive
            if (stream := archive.extractfile(entry)) is not None
        }
    texts[DECODER] = with_table(texts[DECODER])
    parts = [HEAD]
    waiting = [INDEX]
    taken = {INDEX}
    for name in waiting:  # grows while it is read
        folder = posixpath.dirname(name)

        def absolute(match: re.Match[str], folder: str = folder) -> str:
            found = posixpath.normpath(posixpath.join(folder, match[1])) + ".js"
            if found not in taken:
                taken.add(found)
                waiting.append(found)
            return f'require("{found}")'

        text = REQUIRE.sub(absolute, texts[name])
        parts.append(f'files["{name}"] = (exports, require) => {{\n{text.rstrip()}\n}};\n')
    parts.append(f'return load("{INDEX}");\n}})();\n')
    return {"avr8js.js": "".join(parts), "LICENSE.avr8js": texts["package/LICENSE"]}


def main() -> None:
    """Write the files, or compare them."""
    made = bundle(fetch())
    if "--check" in sys.argv[1:]:
        differing = [name for name, text in made.items() if (TARGET / name).read_text("utf-8") != text]
        sys.exit(f"not as made from avr8js {VERSION}: {', '.join(differing)}" if differing else 0)
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

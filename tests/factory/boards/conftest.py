"""Programs of others that drive boards, and firmware of others that runs in one."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.proc import DEADLINE, ROOT

PEERS = Path(__file__).parent / "peers"
FIRMATA_PACKAGE = "avrgirl-arduino@5.0.1"
FIRMATA_HEX = "package/junk/hex/uno/StandardFirmata.cpp.hex"
FIRMATA_SHA256 = "6d57ea7cf30e26c9c2f3a01ee37907d2c951f8bc9c27f84dddad12fa9c8b8f36"


@pytest.fixture(scope="session")
def node_folder(require_tool: RequireTool) -> Path:
    """Return a folder with the scripts for node and their packages, installed once by their lock file."""
    require_tool("node", package="nodejs")
    npm = require_tool("npm", package="npm")
    lock = PEERS / "js" / "package-lock.json"
    folder = ROOT / ".cache" / f"johnny-five-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PEERS / "js", folder)
        command = [npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "installed").touch()
    for script in (PEERS / "js").glob("*.js"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture(params=["pyfirmata2", "pymata4", "pymata_express", "johnny_five"])
def script(request: pytest.FixtureRequest) -> list[str]:
    """Return the command of each script."""
    if request.param == "johnny_five":
        return ["node", str(request.getfixturevalue("node_folder") / "johnny_five_script.js")]
    return [sys.executable, str(PEERS / f"{request.param}_script.py")]


@pytest.fixture(scope="session")
def standard_firmata(require_tool: RequireTool) -> Path:
    """Return the machine code of StandardFirmata 2.4 for the Uno, fetched once; its licence is the LGPL."""
    npm = require_tool("npm", package="npm")
    path = ROOT / ".cache" / "firmata" / "StandardFirmata.cpp.hex"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", FIRMATA_PACKAGE]
        done = subprocess.run(
            command, cwd=path.parent, capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with tarfile.open(path.parent / done.stdout.strip()) as package:
            code = package.extractfile(FIRMATA_HEX)
            assert code is not None
            data = code.read()
        assert hashlib.sha256(data).hexdigest() == FIRMATA_SHA256
        path.write_bytes(data)
    return path

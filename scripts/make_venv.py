"""Make ``.venv`` with everything for work on sketchmesh in it. Called by scripts/setup.

Two runs at once are harmless: the second waits for the first and finds the work
done. What is done is written down in a stamp, which holds the folder (a virtual
environment does not survive a move) and the text of pyproject.toml.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "sketchmesh-setup.stamp"  # scripts/setup compares it too
# Words of pip, and of what is below it, when a download fails.
OFFLINE = (
    "Could not find a version that satisfies",
    "No matching distribution found",
    "Connection broken",
    "Connection refused",
    "ConnectionError",
    "Connection timed out",
    "Max retries exceeded",
    "Name or service not known",
    "Network is unreachable",
    "NewConnectionError",
    "No route to host",
    "ProxyError",
    "ReadTimeout",
    "Temporary failure in name resolution",
    "connection error",
    "getaddrinfo failed",
    "nodename nor servname",
)


class SetupError(Exception):
    """Setup cannot go on; the text is one sentence for the user."""


def say(text: str) -> None:
    """Print one line at once, on stderr: stdout belongs to what is set up."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def wanted() -> str:
    """Return what the stamp has to hold for the environment to be up to date."""
    return f"{ROOT}\n{(ROOT / 'pyproject.toml').read_text(encoding='utf-8')}"


def usable() -> bool:
    """Return whether the environment has a Python that runs, is new enough and has pip."""
    check = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def up_to_date() -> bool:
    """Return whether there is nothing to do."""
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted() and usable()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the checkout, so that two setups do not write to one environment."""
    # The folder itself is locked: a lock file would be one more thing to ignore,
    # and inside .venv it would vanish with a rebuild.
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup is at work here; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            pass  # some network file systems cannot lock; then go on without
        yield
    finally:
        os.close(folder)


def run(command: list[str | Path], extra_env: dict[str, str]) -> str | None:
    """Run a command quietly; return all it said if it failed, else ``None``."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | extra_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    return None if done.returncode == 0 else done.stdout


def make() -> None:
    """Make the environment.

    Raises:
        SetupError: If it cannot be made.

    """
    version = "{}.{}.{}".format(*sys.version_info)
    if not usable():
        say(f"{'rebuilding' if VENV.exists() else 'making'} .venv with Python {version}")
        said = run([sys.executable, "-m", "venv", "--clear", VENV], {})
        if said is not None:
            sys.stderr.write(said)
            raise SetupError(f"Python {version} ({sys.executable}) could not make .venv; its words are above")
    say("installing what sketchmesh needs into .venv; the first time takes a minute")
    STAMP.unlink(missing_ok=True)
    # A user's own pip settings must neither send files elsewhere nor be asked for.
    env = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    said = run([PYTHON, "-m", "pip", "install", "--progress-bar=off", "-e", f"{ROOT}[dev]"], env)
    if said is None:
        STAMP.write_text(wanted(), encoding="utf-8")
        return
    if any(words in said for words in OFFLINE):
        raise SetupError(
            "pip cannot download what sketchmesh needs: is there a network? "
            "It is needed once; connect, then run `make setup` again"
        )
    sys.stderr.write(said)
    raise SetupError("pip could not install sketchmesh into .venv; its words are above")


def main() -> int:
    """Bring ``.venv`` up to date and return the exit code."""
    try:
        with alone():
            if not up_to_date():
                make()
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"cannot write .venv: {error.strerror} ({error.filename})")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

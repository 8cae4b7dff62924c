"""What users get is the wheel, not the checkout: build it, look inside, install it, run it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mesh", "factory", "sketches")
pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from that sdist, so that neither can hide a missing file."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, cwd=ROOT)
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("sketchmesh-*-py3-none-any.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; the dependencies are lent by ours."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel, cwd=venv.parent)
    # Ours comes after its own, and as a plain entry of the path: so the .pth file
    # that leads to this checkout is not read, and nothing but the wheel is found.
    lent = "\n".join(sorted({p for p in sys.path if p.endswith("site-packages")}))
    [site] = (venv / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(lent, encoding="utf-8")
    return venv


def test_m1_the_three_named_packages_are_among_few_dependencies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    required = [r for r in fields.get_all("Requires-Dist", []) if "extra ==" not in r]
    bases = {re.split(r"[^\w-]", r)[0].lower() for r in required}
    assert bases >= {"websockets", "click", "pyyaml"}
    assert len(bases) <= 5, bases
    extras = {"avr", "bench", "dev", "fast", "prompt", "test", "tls"}
    assert set(fields.get_all("Provides-Extra", [])) == extras
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License-Expression"] == "MIT"
    assert fields.get_payload(), "the readme is the long description"


def test_m1_the_top_level_is_as_on_the_card(names: set[str]) -> None:
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {*PACKAGES, "arduino.py"}
    for name in ("pyproject.toml", "grid.yaml", "arduino.py", *PACKAGES, "tests"):
        assert (ROOT / name).exists(), name


def test_types_schema_and_default_grid_are_in_the_wheel(wheel: Path, names: set[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {"mesh/gridfile/grid.schema.json", "mesh/web/mesh.js", "mesh/web/mesh.d.ts"} <= names
    page = {f"factory/rooms/page/{name}" for name in ("index.html", "page.css", "page.js", "rooms.js")}
    assert page <= names
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("mesh/gridfile/default.yaml") == (ROOT / "grid.yaml").read_bytes()


def test_the_bundled_simulator_is_in_the_wheel_with_its_licence(wheel: Path) -> None:
    folder = "factory/boards/avr/js"
    with zipfile.ZipFile(wheel) as archive:
        head = archive.read(f"{folder}/avr8js.js").decode().splitlines()[0]
        licence = archive.read(f"{folder}/LICENSE.avr8js").decode()
        assert archive.read(f"{folder}/chip.js") == (ROOT / folder / "chip.js").read_bytes()
    assert re.fullmatch(r"// avr8js \d+\.\d+\.\d+, sha512-\S+", head), "it says which version it is"
    assert "The MIT License" in licence
    assert "Uri Shaked" in licence


def test_every_module_is_in_the_wheel_and_nothing_else(names: set[str]) -> None:
    for package in PACKAGES:
        modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
        assert modules <= names
        assert f"{package}/__init__.py" in names
    for name in names:
        assert not re.search(r"(^|/)(tests?|scripts|docs|\.\w+|__pycache__)(/|$)|conftest", name), name


def test_the_sdist_is_complete(built: Path) -> None:
    [path] = built.glob("sketchmesh-*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    wanted = {
        "arduino.py", "grid.yaml", "pyproject.toml", "Makefile", "Procfile", "README.md", "CHANGELOG.md",
        "LICENSE", "scripts/setup", "tests/conftest.py", "docs/dependencies.md",
        "mesh/gridfile/grid.schema.json",
    }  # fmt: skip
    assert wanted <= inside, wanted - inside
    assert not any(name.startswith((".venv", ".cache", "dist/")) for name in inside)


@pytest.mark.source("M1")
def test_m1_all_of_it_can_be_imported_from_the_wheel(installed: Path) -> None:
    names = "arduino, factory, mesh, sketches"
    code = f"import {names}; print([module.__file__ for module in ({names})])"
    done = run(installed / "bin/python", "-c", code, cwd=installed)
    files: list[str] = ast.literal_eval(done.stdout)
    assert all(Path(file).is_relative_to(installed) for file in files), files


@pytest.mark.parametrize("script", ["arduino.py", "mesh"])
def test_the_installed_scripts_run(installed: Path, script: str) -> None:
    done = run(installed / "bin" / script, "--help", cwd=installed)
    assert "Usage:" in done.stdout
    assert script in done.stdout


def test_the_script_arduino_py_does_not_import_the_module_it_shadows(installed: Path) -> None:
    # In its own folder the script is what `import arduino` finds.
    text = (installed / "bin/arduino.py").read_text(encoding="utf-8")
    assert "from factory.cli.starting import sketch" in text
    assert "import arduino" not in text
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = (
                    [a.name for a in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module]
                    if isinstance(node, ast.ImportFrom) and not node.level
                    else []
                )
                assert "arduino" not in modules, path


def test_it_runs_far_from_the_checkout_without_a_grid(installed: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MESH_GRID"}
    done = subprocess.run(
        [installed / "bin/python", "-c", "import mesh; print(mesh.grid().node('buzzer').port)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdecimal()

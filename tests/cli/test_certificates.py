"""``mesh cert init``: an authority and a certificate in a folder, and nothing that is overwritten."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from websockets.sync.client import connect

from factory.cli.fleet import main
from mesh.certificates import serving, trusting
from mesh.node import Tls
from tests.helpers.proc import DEADLINE, arduino


def init(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["cert", "init", *map(str, arguments)])


def names_in(certificate: Path) -> set[str]:
    from cryptography.x509 import SubjectAlternativeName, load_pem_x509_certificate

    found = load_pem_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_what_it_makes_can_be_used_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    done = init(folder, "--host", "pi.local", "--host", "192.168.1.7", "--host", "bücher.local")
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.iterdir()} == {
        "authority.crt",
        "authority.key",
        "node.crt",
        "node.key",
    }
    assert [(folder / name).stat().st_mode & 0o777 for name in ("authority.key", "node.key")] == [0o600] * 2
    own = {"localhost", "127.0.0.1", "::1"}
    assert names_in(folder / "node.crt") == own | {"pi.local", "192.168.1.7", "xn--bcher-kva.local"}
    tls = Tls(str(folder / "node.crt"), str(folder / "node.key"), str(folder / "authority.crt"))
    assert isinstance(serving(tls, "here"), ssl.SSLContext)
    assert len(trusting(tls).get_ca_certs()) == 1
    assert f"next: ./arduino.py rooms --tls-cert {tls.cert} --tls-key {tls.key}" in done.output


def test_nothing_is_overwritten_and_an_authority_signs_again(tmp_path: Path) -> None:
    init(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = init(tmp_path)
    assert again.exit_code == 1
    assert "node.crt is there already, and nothing is overwritten; for a new one" in again.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for name in ("node.crt", "node.key"):
        (tmp_path / name).unlink()
    assert init(tmp_path).exit_code == 0
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"node.crt", "node.key"}
    serving(Tls(str(tmp_path / "node.crt"), str(tmp_path / "node.key")), "here")


@pytest.mark.parametrize(
    ("name", "words"),
    [("authority.key", "the authority in .* cannot be used: "), ("authority.crt", "cannot be used: ")],
)
def test_an_authority_that_cannot_sign(tmp_path: Path, name: str, words: str) -> None:
    init(tmp_path)
    (tmp_path / name).write_text("hello")
    for own in ("node.crt", "node.key"):
        (tmp_path / own).unlink()
    done = init(tmp_path)
    assert done.exit_code == 1
    assert "cannot be used: " in done.output
    assert "or name another folder for a new authority" in done.output


def test_a_name_that_is_none(tmp_path: Path) -> None:
    done = init(tmp_path / "certs", "--host", "x" * 70)
    assert done.exit_code == 1
    assert "is no name of a host; write it as --host pi.local or --host 192.168.1.7" in done.output
    assert not (tmp_path / "certs").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = init(file / "certs")
    assert done.exit_code == 1
    assert f"cannot write to {file / 'certs'}: not a directory; name another folder" in done.output


def test_without_the_library_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    done = init(tmp_path)
    assert done.exit_code == 1
    assert "pip install 'sketchmesh[tls]'" in done.output


@pytest.mark.fleet
@pytest.mark.integration
def test_the_launcher_serves_with_a_certificate(tmp_path: Path) -> None:
    init(tmp_path)
    files = ("--tls-cert", str(tmp_path / "node.crt"), "--tls-key", str(tmp_path / "node.key"))
    with arduino("echo", "--port", "0", *files) as echo:
        port = int(echo.wait_for(r"serving on localhost:(\d+) with TLS$")[1])
        trusted = trusting(Tls(authority=str(tmp_path / "authority.crt")))
        with connect(f"wss://localhost:{port}/", ssl=trusted, proxy=None) as client:
            client.send("hello")
            assert client.recv(DEADLINE) == "You sent: hello"
        assert echo.stop() == 0


@pytest.mark.fleet
@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["echo", "--tls-key", "k"], "--tls-key is the key of a certificate; add --tls-cert FILE", 2),
        (["clock", "--tls-cert", "c"], "No such option", 2),
        (
            ["echo", "--port", "0", "--tls-cert", os.devnull],
            "node 'echo': /dev/null is no certificate (PEM); `mesh cert init` makes",
            1,
        ),
    ],
)
def test_what_the_launcher_says_of_wrong_files(arguments: list[str], words: str, code: int) -> None:
    with arduino(*arguments) as refused:
        assert refused.wait() == code
    assert words in "\n".join(refused.stderr)

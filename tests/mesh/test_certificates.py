"""TLS: what a node serves with, whom it trusts, and every file that can be wrong."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mesh
from mesh.certificates import serving, trusting
from mesh.dialling import AbsentError, connect
from mesh.node import NodeDoor, Tls
from tests.helpers.certificates import make, make_expired
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import Recorder, Sender

pytestmark = pytest.mark.integration


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return make(tmp_path / "certs")


@asynccontextmanager
async def recording(tls: Tls | bool, **options: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder.as_node(mesh.Node("recorder", tls=tls, **options), mesh.Grid())
    async with recorder.running(port=0):
        yield recorder


def sender(to: mesh.Node) -> Sender:
    return Sender.as_node(mesh.Node("sender"), mesh.Grid([to]))


async def test_plain_clients_links_and_feeds_come_through_tls(tls: Tls) -> None:
    async with recording(tls) as recorder:
        assert recorder.serving.uri().startswith("wss://")
        async with recorder.serving.connection("x") as client:
            await client.send("hello")
            assert await client.recv() == "ok"
        other = sender(recorder.serving)
        async with other.running(port=0), asyncio.timeout(DEADLINE):
            assert await other.stream("recorder", range(300), "y", quiet=True) == ["ok"] * 300
    assert recorder.seen[0] == ("x", "hello")


async def test_lines_come_through_tls_as_well(tls: Tls) -> None:
    recorder = Recorder.as_node(mesh.Node("recorder", tls=tls), mesh.Grid())
    recorder.line_door = "tcp://localhost:0"
    async with recorder.running(port=0), asyncio.timeout(DEADLINE):
        port = int(str(recorder.line_door).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting(tls))
        writer.write(b"hello\n")
        assert await reader.readline() == b"ok\n"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_links_dial_doors_with_tls(tls: Tls, scheme: str) -> None:
    layers = ("len32le",) if scheme == "tcp" else ()
    door = NodeDoor(f"{scheme}://localhost:{free_ports(1)[0]}", layers, "link")
    async with recording(tls, doors=(door,)) as recorder:
        other = sender(replace(recorder.serving, doors=(door,)))
        async with other.running(port=0), asyncio.timeout(DEADLINE):
            assert await other.stream("recorder", ["hello"]) == ["ok"]


async def test_who_does_not_know_the_authority_refuses_and_says_what_to_write(tls: Tls) -> None:
    async with recording(tls) as recorder:
        with pytest.raises(AbsentError, match=r"is not trusted \(.*name that: `tls: {authority: FILE}`"):
            await connect(replace(recorder.serving, tls=True), "")


async def test_who_dials_with_tls_where_there_is_none_is_told(tls: Tls) -> None:
    async with recording(False) as recorder:
        with pytest.raises(AbsentError, match=r"no TLS was possible .* perhaps it serves without"):
            await connect(replace(recorder.serving, tls=tls), "")


async def test_an_authority_that_is_not_there_is_no_reason_to_try_again(tls: Tls, tmp_path: Path) -> None:
    wrong = Tls(authority=str(tmp_path / "none.crt"))
    async with recording(tls) as recorder:
        with pytest.raises(mesh.DeliveryError, match=r"cannot read the authority .*none.crt: no such file"):
            await connect(replace(recorder.serving, tls=wrong), "")


def test_a_certificate_and_its_key_may_be_one_file(tls: Tls, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(Path(str(tls.cert)).read_bytes() + Path(str(tls.key)).read_bytes())
    assert isinstance(serving(Tls(str(both)), "here"), ssl.SSLContext)


def wrong_key(folder: Path) -> Tls:
    return replace(make(folder), key=make(folder / "other").key)


def no_file(folder: Path) -> Tls:
    return replace(make(folder), key=str(folder / "none.key"))


def a_folder(folder: Path) -> Tls:
    return replace(make(folder), cert=str(folder))


def no_certificate(folder: Path) -> Tls:
    good = make(folder)
    Path(str(good.cert)).write_text("hello")
    return good


def no_key(folder: Path) -> Tls:
    good = make(folder)
    Path(str(good.key)).write_text("hello")
    return good


def a_password(folder: Path) -> Tls:
    from cryptography.hazmat.primitives import serialization as s

    good = make(folder)
    path = Path(str(good.key))
    key = s.load_pem_private_key(path.read_bytes(), None)
    locked = s.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, locked))
    return good


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            make_expired,
            "nobody would trust the certificate .*node.crt: certificate has expired; make a new one",
        ),
        (wrong_key, "the key .*other/node.key does not belong to the certificate .*node.crt"),
        (no_file, "cannot read the key .*none.key: no such file or directory"),
        (a_folder, "cannot read the certificate .*: is a directory"),
        (no_certificate, r".*node.crt is no certificate \(PEM\)"),
        (no_key, r".*node.key is no key \(PEM\)"),
        (a_password, "the key .*node.key has a password, .* openssl pkey -in"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(wrong: Callable[[Path], Tls], words: str, tmp_path: Path) -> None:
    with pytest.raises(mesh.CertificateError, match=f"^grid.yaml:3:5: {words}"):
        serving(wrong(tmp_path / "certs"), "grid.yaml:3:5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read(tls: Tls) -> None:
    Path(str(tls.key)).chmod(0)
    with pytest.raises(mesh.CertificateError, match=r"cannot read the key .*: permission denied"):
        serving(tls, "here")


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.crt"
    path.write_text("hello")
    with pytest.raises(mesh.CertificateError, match=r"the authority .*x.crt is no certificate \(PEM\)"):
        trusting(Tls(authority=str(path)))


async def test_a_worker_with_a_wrong_certificate_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(mesh.CertificateError, match=r"^node 'recorder': .* has expired"):
        async with recording(make_expired(tmp_path)):
            pass

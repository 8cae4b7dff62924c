"""Who may knock: `Host` against DNS rebinding, `Origin` against foreign pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.admission import why_refused
from mesh.errors import GridError
from mesh.gridfile.load import parse_grid

OWN = ("pi.lan", "192.168.1.7", "2001:db8::7", "fe80::1%eth0")
LISTED = ("https://lab.example", "http://lab.example:8080")


def admits_host(host: str) -> bool:
    return why_refused([host], [], own_hosts=OWN, allowed_origins=LISTED) is None


def admits_origin(origin: str, *, listed: tuple[str, ...] = LISTED) -> bool:
    return why_refused(["localhost"], [origin], own_hosts=OWN, allowed_origins=listed) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8766",
        "localhost:",
        "LocalHost:1",
        "localhost.",
        "buzzer.localhost:80",
        "127.0.0.1:8766",
        "127.8.9.10",
        "0.0.0.0:8766",
        "[::1]",
        "[::1]:8766",
        "[0:0:0:0:0:0:0:1]:8766",
        "[::ffff:127.0.0.1]:8766",
        "pi.lan",
        "PI.LAN:8766",
        "pi.lan.:8766",
        "192.168.1.7:8766",
        "[2001:db8::7]:8766",
        "[2001:DB8::7]",
        "[fe80::1]:8766",
        "[fe80::1%25eth0]:8766",
        "[fe80::1%wlan0]:8766",
    ],
)
def test_a_name_of_this_worker_is_let_in(host: str) -> None:
    assert admits_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8766",
        "evil.example",  # DNS rebinding: a foreign name that points at 127.0.0.1
        "evil.example:8766",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "notlocalhost",
        "pi.lan.evil.example",
        "192.168.1.8",
        "[2001:db8::8]",
        "[fe80::2%25eth0]",
        "[::ffff:192.168.1.8]",
        "evil@localhost",
        "@localhost",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "evil.example[::1]",
        "[::1]evil.example",
        "[::1]:80:80",
        "[::1",
        "::1",
        "localhost%.evil.example",
        "127.0.0.1%evil",
        "localhost/evil",
        "localhost?evil",
        "localhost#evil",
        "localhost\\evil",
        "local\thost",
        "localhost evil.example",
        "localhost,evil.example",
        "localhost:http",
        "localhost:99999",
        "localhost:-1",
        "localhost:\u0668\u0660",
        "2130706433",  # 127.0.0.1 as one number, which only browsers still read
        "\uff4cocalhost",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    assert not admits_host(host)


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
def test_there_is_exactly_one_host(hosts: list[str]) -> None:
    assert "exactly one Host" in str(why_refused(hosts, [], own_hosts=OWN, allowed_origins=LISTED))


def test_there_is_at_most_one_origin() -> None:
    both = ["http://localhost", "https://evil.example"]
    assert "at most one Origin" in str(
        why_refused(["localhost"], both, own_hosts=OWN, allowed_origins=LISTED)
    )
    assert "at most one Origin" in str(
        why_refused(["localhost"], [both[0], both[0]], own_hosts=OWN, allowed_origins=LISTED)
    )


def test_a_client_that_is_no_browser_has_no_origin() -> None:
    assert why_refused(["localhost"], [], own_hosts=(), allowed_origins=()) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:5173",
        "http://127.0.0.1:9999",
        "http://[::1]:3000",
        "http://app.localhost:3000",
        "http://pi.lan",
        "https://pi.lan:8443",
        "http://192.168.1.7:3000",
        "http://[2001:db8::7]:3000",
        "https://lab.example",
        "http://lab.example:8080",
    ],
)
def test_pages_of_this_machine_and_listed_ones_are_let_in(origin: str) -> None:
    assert admits_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",  # a sandboxed frame or a file; any page can make one
        "file://",
        "localhost",
        "//localhost",
        "ftp://localhost",
        "chrome-extension://localhost",
        "https://evil.example",
        "http://lab.example",
        "https://lab.example:8080",
        "https://lab.example.evil.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://evil.example@localhost",
        "http://@localhost",
        "http://evil.example#localhost",
        "http://evil.example?localhost",
        "http://evil.example/http://localhost",
        "http://evil.example\\@localhost",
        "http://localhost\\.evil.example",
        "http://evil.example[::1]",
        "http://localhost:3000,https://evil.example",
        "http://localhost https://evil.example",
        "http://localhost%2eevil.example",
        "http://localhost:99999",
        "http://localhost:x",
        "http://",
    ],
)
def test_every_other_page_is_refused(origin: str) -> None:
    assert not admits_origin(origin)


def test_null_is_let_in_only_where_it_is_listed() -> None:
    assert admits_origin("null", listed=("null",))


def test_a_foreign_host_is_refused_even_with_a_listed_origin() -> None:
    why = why_refused(["evil.example"], ["https://lab.example"], own_hosts=OWN, allowed_origins=LISTED)
    assert why == "Host 'evil.example' is not a name of this worker"


def test_a_refused_origin_is_told_how_to_get_in() -> None:
    why = why_refused(["localhost"], ["https://evil.example"], own_hosts=OWN, allowed_origins=LISTED)
    assert why is not None
    assert "'https://evil.example'" in why
    assert "list it under `origins:` in grid.yaml" in why


def test_advice_is_what_the_grid_accepts() -> None:
    def advice(origin: str) -> str:
        return str(why_refused(["localhost"], [origin], own_hosts=OWN, allowed_origins=LISTED))

    for origin in ("null", "https://evil.example", "chrome-extension://abc"):
        assert "under `origins:` in grid.yaml" in advice(origin)
        grid = parse_grid(f"nodes: {{a: {{port: 1}}}}\norigins: ['{origin}']\n".encode())
        assert admits_origin(origin, listed=grid.origins)
    for origin in ("", "file://", "file:///x", "https://evil.example/x", "*", "x" * 1000, "http://a:99999"):
        assert "`origins:`" not in advice(origin)
        assert "serve the page over http instead" in advice(origin)
        with pytest.raises(GridError):
            parse_grid(f"nodes: {{a: {{port: 1}}}}\norigins: ['{origin}']\n".encode())


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
FOREIGN = st.lists(LABEL, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))


@given(FOREIGN, st.none() | st.integers(0, 65535))
def test_no_foreign_name_is_let_in_whatever_its_port(name: str, port: int | None) -> None:
    authority = name if port is None else f"{name}:{port}"
    assert not admits_host(authority)
    assert not admits_origin(f"https://{authority}")


@given(st.integers(0, 65535), st.sampled_from(["localhost", "127.0.0.1", "[::1]", "pi.lan", "[2001:db8::7]"]))
def test_our_names_are_let_in_on_every_port(port: int, name: str) -> None:
    assert admits_host(f"{name}:{port}")
    assert admits_origin(f"http://{name}:{port}")


@given(FOREIGN, st.text(max_size=8), st.text(max_size=8))
def test_no_text_around_a_foreign_name_lets_it_in(name: str, before: str, after: str) -> None:
    # Only what ends in a name of ours may pass, and then the foreign part is a label of it.
    for text in (before + name, name + after):
        if admits_host(text):
            assert text.partition(":")[0].rstrip(".").lower().endswith(".localhost")


@given(st.lists(st.text(max_size=20), max_size=3), st.lists(st.text(max_size=20), max_size=3))
def test_no_headers_make_the_rules_fail(hosts: list[str], origins: list[str]) -> None:
    why = why_refused(hosts, origins, own_hosts=OWN, allowed_origins=LISTED)
    assert why is None or why

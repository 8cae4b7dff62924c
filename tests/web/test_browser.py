"""``mesh.js`` in real headless Chromium: a page that sends to a worker and listens to a publisher."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import RequireTool
from tests.helpers.clients import ask, serving_port
from tests.helpers.js import MODULE, standing_in
from tests.helpers.link_fleet import start_sink
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc, arduino
from tests.web.test_patterns import Publisher

pytestmark = pytest.mark.fleet

PAGE = """\
<!doctype html><title>mesh.js</title>
<script type="module">
import { connect, MeshError } from "/$mesh.js";
const say = (value) => fetch("/say", { method: "POST", body: JSON.stringify(value) });
try {
  const sink = connect("ws://localhost:SINK"), ticker = connect("ws://127.0.0.1:TICKER");
  sink.onstate = (...change) => say(["state", ...change]);
  await say(await Promise.all(Array.from({ length: 2000 }, (_, n) => sink.send("numbers", `${n} x`))));
  await say(await sink.send("reject", "x")
    .catch((error) => [error.name, error instanceof MeshError, error.remoteType, error.message]));
  const seen = [];
  for await (const { value, seq } of ticker.subscribe("tick")) {
    seen.push([value, seq]);
    await say(["seen", value]);
    if (value == "end") break;
  }
  await say(seen);
  const parts = [];
  for await (const part of ticker.ask("count", 100)) parts.push(part);
  await say(parts.length);
  await say(["kill"]);
  while (sink.state == "up") await new Promise((wake) => setTimeout(wake, 20));
  await say(await sink.send("numbers", "7 again"));
  await Promise.all([sink.close(), ticker.close()]);
  await say(["end", sink.books()]);
} catch (error) {
  await say(["end", String(error), error.stack]);
}
</script>
"""


@contextmanager
def site(page: str, said: Queue[Any]) -> Iterator[int]:
    """Serve a page and the module, as a worker will; what the page says goes to a queue."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files = {
                "/": ("text/html", page.encode()),
                "/$mesh.js": ("text/javascript", MODULE.read_bytes()),
            }
            kind, body = files.get(self.path.partition("?")[0], ("", b""))
            self._send(200 if body else 404, kind, body)

        def do_POST(self) -> None:
            said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(200, "text/plain", b"")

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def browse(program: str, folder: Path, url: str) -> Proc:
    """Open a page in a browser that nobody sees."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    return Proc(program, *flags, f"--user-data-dir={folder / 'profile'}", url, cwd=folder)


async def test_a_page_talks_to_a_worker_and_a_publisher(tmp_path: Path, require_tool: RequireTool) -> None:
    program = require_tool("chromium", package="chromium")
    (port,) = free_ports(1)
    made = Publisher()
    made.generators = {"count": lambda msg: iter(range(msg))}
    said: Queue[Any] = Queue()

    async def heard() -> Any:
        return await asyncio.to_thread(said.get, timeout=2 * DEADLINE)

    async with standing_in(made) as (url, _):
        runner = asyncio.ensure_future(made.run())
        page = PAGE.replace("SINK", str(port)).replace("TICKER", url.rpartition(":")[2])
        with start_sink(tmp_path, port=port) as sink, site(page, said) as at:
            serving_port(sink)
            with browse(program, tmp_path, f"http://localhost:{at}/"):
                assert await heard() == ["state", "up", "connected"]
                assert await heard() == list(range(2000))
                assert await heard() == ["NackedError", True, "Reject", "never x, try 1"]
                await made.until(lambda: made.subscribed)
                await made.publish("tick", "one", "two")
                assert [await heard(), await heard()] == [["seen", "one"], ["seen", "two"]]
                made.cut()
                await made.publish("tick", "end")
                assert await heard() == ["seen", "end"]
                assert await heard() == [["one", 1], ["two", 2], ["end", 3]]
                assert await heard() == 100
                assert await heard() == ["kill"]
                sink.process.send_signal(signal.SIGKILL)
                sink.wait()
                state = await heard()
                assert state[:2] == ["state", "down"], state
                with start_sink(tmp_path, port=port) as again:
                    serving_port(again)
                    rest = [await heard() for _ in range(4)]
                    assert ["state", "up", "restarted"] in rest
                    assert 7 in rest
                    assert ["state", "closed", "closed"] in rest
                    (books,) = [entry[1] for entry in rest if isinstance(entry, list) and entry[0] == "end"]
                    assert books == {"sent": 2002, "acked": 2001, "refused": 1, "failed": 0, "inFlight": 0}
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
    assert not made.errors


WATCH = """
<script>
  const seen = () => JSON.stringify([sound.textContent, state.textContent]);
  const watch = () => fetch("/say", { method: "POST", body: seen() });
  new MutationObserver(watch).observe(document.body, { subtree: true, childList: true, characterData: true });
</script>
"""


def test_the_example_shows_the_buzzer_live(tmp_path: Path, require_tool: RequireTool) -> None:
    program = require_tool("chromium", package="chromium")
    example = (ROOT / "examples" / "buzzer.html").read_text(encoding="utf-8")
    assert example.count("\n") <= 20
    said: Queue[Any] = Queue()

    def until(*wanted: str) -> None:
        while said.get(timeout=2 * DEADLINE)[: len(wanted)] != list(wanted):
            pass

    with (
        arduino("buzzer", "--port", "0", "--sound", "buzz buzz buzz") as buzzer,
        site(example + WATCH, said) as at,
    ):
        uri = f"ws://localhost:{serving_port(buzzer)}"
        with browse(program, tmp_path, f"http://localhost:{at}/?buzzer={uri}"):
            until("…", "up connected")
            # The pin would do this; the page hears of it though it is not in between.
            buzzer.wait_for(r"subscribed to 'sound'")
            assert ask(serving_port(buzzer), "1") == ["buzz buzz buzz"]
            until("buzz buzz buzz")
            assert ask(serving_port(buzzer), "0") == ["..."]
            until("...")


def test_a_worker_serves_the_module_and_its_types() -> None:
    with arduino("buzzer", "--port", "0") as buzzer:
        at = f"http://localhost:{serving_port(buzzer)}/"
        for name in ("mesh.js", "mesh.d.ts"):
            with urlopen(f"{at}${name}") as answer:
                assert answer.read() == MODULE.with_name(name).read_bytes()
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
        stranger = Request(f"{at}$mesh.js", headers={"Origin": "https://example.com"})
        with pytest.raises(HTTPError, match="403"):
            urlopen(stranger)

"""A TCP connection that can be cut, or go dead, between a client and a server."""

from __future__ import annotations

import select
import socket
import threading
from typing import Self


class Cable:
    """Passes on what comes, until told otherwise; use it as a context manager.

    Args:
        port: The server's port on this machine.

    Attributes:
        port: Where clients connect.

    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._dead: set[socket.socket] = set()
        self._orders: list[str] = []
        self._bell, self._ringer = socket.socketpair()
        self._done = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="a cable")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._order("end")
        self._thread.join()
        for end in (self._bell, self._ringer, self._listener, *self._pairs, *self._dead):
            end.close()

    def cut(self) -> None:
        """Close every connection; both ends notice, and new ones are taken."""
        self._order("cut")

    def die(self) -> None:
        """Carry nothing more on the connections that there are; nobody notices. New ones are taken."""
        self._order("die")

    def _order(self, word: str) -> None:
        self._orders.append(word)
        self._ringer.send(b"!")
        self._done.acquire()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._bell, self._listener, *self._pairs], [], [])
            if self._bell in ready:
                self._bell.recv(1)
                word = self._orders.pop(0)
                if word == "cut":
                    for end in list(self._pairs):
                        self._close(end)
                elif word == "die":
                    self._dead |= self._pairs.keys()
                    self._pairs.clear()
                self._done.release()
                if word == "end":
                    return
                continue
            for end in ready:
                if end is self._listener:
                    self._join(end.accept()[0])
                elif end in self._pairs:
                    self._pass_on(end)

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            client.close()
            return
        self._pairs.update({client: server, server: client})

    def _pass_on(self, end: socket.socket) -> None:
        try:
            data = end.recv(65536)
            if data:
                self._pairs[end].sendall(data)
                return
        except OSError:
            pass
        self._close(end)

    def _close(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        end.close()
        if other is not None:
            self._pairs.pop(other, None)
            other.close()

"""A server on loopback that answers with given bytes, whatever they are."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


class Answering:
    """Answers each connection with the next of some bytes, and closes it."""

    def __init__(self) -> None:
        self._answers: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/config.json"
        Thread(target=self._serve, daemon=True).start()

    @contextmanager
    def answering(self, answers: list[bytes]) -> Iterator[str]:
        """Answer so inside of the ``with`` block; afterwards, and in the end, connections are closed at once."""
        self._answers = list(answers)
        yield self.url
        self._answers = []

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with suppress(OSError), connection:
                connection.settimeout(1)
                connection.recv(65536)
                connection.sendall(self._answers.pop(0) if self._answers else b"")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

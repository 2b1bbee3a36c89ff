"""A proxy in front of PostgreSQL that counts, delays and cuts what goes through it."""

import contextlib
import socket
import struct
import threading
import time

from sqlalchemy import make_url


class Wire:
    """Counts the messages that a client sends; ``delay`` is how long each batch of an answer takes, in seconds."""

    def __init__(self, listener, address):
        self._listener = listener
        self._address = address
        self._lock = threading.Lock()
        self._sockets = []
        self.delay = 0.0
        self.messages = []
        self.connections = 0

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._address, timeout=30)
            except OSError:
                return
            server.settimeout(None)
            with self._lock:
                self.connections += 1
                self._sockets += [client, server]
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client, server):
        with contextlib.suppress(OSError):
            begun = False
            while True:
                kind = _exactly(client, 1) if begun else b""
                length = _exactly(client, 4)
                body = _exactly(client, struct.unpack("!i", length)[0] - 4)
                if begun:
                    with self._lock:
                        self.messages.append((kind, body))
                # SSLRequest and GSSENCRequest are answered by one byte, and the startup message follows.
                begun = begun or struct.unpack("!i", body[:4])[0] == 196608
                server.sendall(kind + length + body)
        self._end(client, server)

    def _answers(self, server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.delay:
                    time.sleep(self.delay)  # what a distant server takes
                client.sendall(data)
        self._end(client, server)

    def cut(self):
        """Cut every connection that there is."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        self._end(*sockets)

    @staticmethod
    def _end(*sockets):
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _exactly(connection, count):
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionError
        data += chunk
    return data


@contextlib.contextmanager
def wire(url):
    """A proxy, and the URL that leads through it."""
    parsed = make_url(url)
    address = (parsed.host or "127.0.0.1", parsed.port or 5432)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Wire(listener, address)
        threading.Thread(target=found.serve, daemon=True).start()
        through = parsed.set(host="127.0.0.1", port=found.port).update_query_dict({"sslmode": "disable"})
        through = through.update_query_dict({"gssencmode": "disable"})
        try:
            yield found, through.render_as_string(hide_password=False)
        finally:
            found.cut()

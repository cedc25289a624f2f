"""Python's websockets, as server and as client."""

import os
import threading
from contextlib import ExitStack

from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

import harness
from harness import Issuer, Peer, Sidegate, background, bearer, route, upstream


class Server:
    """Echoes each message; keeps the request of each handshake."""

    name = "websockets"

    def __init__(self):
        self.handshakes = []
        self.server = serve(self.echo, "127.0.0.1", 0, max_size=None, compression=None)
        self.port = self.server.socket.getsockname()[1]
        background(self.server.serve_forever)

    def echo(self, connection):
        self.handshakes.append(connection.request.headers)
        for message in connection:
            if message == "close":
                connection.close(4001, "as asked")
                return
            connection.send(message)

    def log(self):
        return f"{len(self.handshakes)} handshakes"

    def stop(self):
        self.server.shutdown()


class WebSocket(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.server = Issuer(), cls.start(Server())
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "upstreams": [
                        upstream(cls.server.port, credential={"none": {}}, identity_headers={"X-Forwarded-User": "sub"})
                    ],
                    "routes": [route()],
                }
            )
        )
        cls.url = f"ws://127.0.0.1:{cls.sidegate.port}/socket"

    def connect(self, token=None, **how):
        headers = bearer(token) if token else {}
        return connect(self.url, additional_headers=headers, max_size=None, compression=None, proxy=None, **how)

    def test_messages_of_both_kinds_come_back_in_order(self):
        with self.connect(self.issuer.token()) as socket:
            messages = ["hello", "é" * 1000, b"\x00\xff", os.urandom(70_000), ""]
            for message in messages:
                socket.send(message)
            self.assertEqual([socket.recv(timeout=10) for _ in messages], messages)

    def test_a_large_message_streams_through(self):
        message = os.urandom(20 * 1024 * 1024)
        with self.connect(self.issuer.token()) as socket:
            sender = threading.Thread(target=socket.send, args=(message,))
            sender.start()
            self.assertEqual(socket.recv(timeout=30), message)
            sender.join()

    def test_the_server_learns_who_it_is_and_not_the_token(self):
        with self.connect(self.issuer.token(sub="bob")) as socket:
            socket.send("here")
            socket.recv(timeout=10)
        headers = self.server.handshakes[-1]
        self.assertEqual(headers["X-Forwarded-User"], "bob")
        self.assertNotIn("Authorization", headers)

    def test_pings_and_the_closing_code_pass(self):
        with self.connect(self.issuer.token()) as socket:
            self.assertTrue(socket.ping().wait(10))
            socket.send("close")
            with self.assertRaises(Exception) as closed:
                socket.recv(timeout=10)
        self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4001, "as asked"))

    def test_a_clean_close_by_the_client_is_clean_on_both_sides(self):
        with self.connect(self.issuer.token()) as socket:
            socket.close()
            with self.assertRaises(ConnectionClosedOK):
                socket.recv(timeout=10)

    def test_without_a_token_no_byte_reaches_the_server(self):
        before = len(self.server.handshakes)
        for token in (None, self.issuer.token(exp=1), self.issuer.token(aud="other")):
            with self.assertRaises(InvalidStatus) as refused, self.connect(token):
                """Must not come to pass."""
            self.assertEqual(refused.exception.response.status_code, 401)
        self.assertEqual(len(self.server.handshakes), before)

    def test_many_sockets_at_once_do_not_mix(self):
        with ExitStack() as open_sockets:
            sockets = [open_sockets.enter_context(self.connect(self.issuer.token())) for _ in range(50)]
            for number, socket in enumerate(sockets):
                socket.send(f"socket {number}")
            answers = [socket.recv(timeout=10) for socket in sockets]
        self.assertEqual(answers, [f"socket {number}" for number in range(50)])


if __name__ == "__main__":
    harness.main()

"""Python's grpcio, as server and as client, over h2c with prior knowledge on both sides."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

import harness
from harness import Issuer, Peer, Sidegate, route, upstream


class Server:
    """A service without a schema: messages are bytes."""

    name = "grpcio"

    def __init__(self):
        self.metadata = []
        self.cancelled = threading.Event()
        self.server = grpc.server(ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    "test.Echo",
                    {
                        "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                        "Count": grpc.unary_stream_rpc_method_handler(self.count),
                        "Join": grpc.stream_unary_rpc_method_handler(self.join),
                        "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                        "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                        "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
                    },
                )
            ]
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def unary(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("x-leading", "first"),))
        context.set_trailing_metadata((("x-trailing", "last"), ("x-trailing-bin", b"\x00\xff")))
        return request

    def count(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def join(self, requests, context):
        return b",".join(requests)

    def chat(self, requests, context):
        for request in requests:
            yield request[::-1]

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "não, not like this")

    def wait(self, request, context):
        context.add_callback(self.cancelled.set)
        yield b"started"
        while context.is_active():
            time.sleep(0.02)

    def log(self):
        return f"{len(self.metadata)} unary calls"

    def stop(self):
        self.server.stop(0)


class Grpc(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.server = Issuer(), cls.start(Server())
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "upstreams": [
                        upstream(
                            cls.server.port,
                            protocol="http2",
                            credential={"none": {}},
                            identity_headers={"X-Forwarded-User": "sub"},
                        )
                    ],
                    "routes": [route(max_body_bytes=0)],
                },
                listener={"protocols": ["http2"]},
            )
        )
        cls.channel = grpc.insecure_channel(f"127.0.0.1:{cls.sidegate.port}")
        cls.programs.callback(cls.channel.close)
        cls.metadata = (("authorization", f"Bearer {cls.issuer.token()}"),)

    def call(self, kind, method, request, metadata=None):
        rpc = getattr(self.channel, kind)(f"/test.Echo/{method}")
        return rpc(request, metadata=self.metadata if metadata is None else metadata, timeout=20)

    def test_a_unary_call_passes_with_leading_and_trailing_metadata(self):
        rpc = self.channel.unary_unary("/test.Echo/Unary")
        answer, call = rpc.with_call(b"hello", metadata=(*self.metadata, ("x-own", "kept")), timeout=20)
        trailing = dict(call.trailing_metadata())
        self.assertEqual((answer, call.code()), (b"hello", grpc.StatusCode.OK))
        self.assertEqual(dict(call.initial_metadata())["x-leading"], "first")
        self.assertEqual((trailing["x-trailing"], trailing["x-trailing-bin"]), ("last", b"\x00\xff"))
        seen = self.server.metadata[-1]
        self.assertEqual((seen["x-forwarded-user"], seen["x-own"]), ("alice", "kept"))
        self.assertNotIn("authorization", seen)

    def test_a_message_of_a_few_mebibytes_passes_both_ways(self):
        message = bytes(range(256)) * 12_000
        self.assertEqual(self.call("unary_unary", "Unary", message), message)

    def test_a_stream_from_the_server_arrives_in_order(self):
        answers = list(self.call("unary_stream", "Count", b"2000"))
        self.assertEqual(answers, [str(number).encode() for number in range(2000)])

    def test_a_stream_from_the_client_arrives_whole(self):
        self.assertEqual(self.call("stream_unary", "Join", iter([b"a", b"b", b"c"])), b"a,b,c")

    def test_both_sides_stream_in_turn(self):
        asked = []

        def questions():
            for number in range(100):
                asked.append(number)
                yield f"q{number}".encode()

        answers = self.call("stream_stream", "Chat", questions())
        self.assertEqual([answer[::-1].decode() for answer in answers], [f"q{number}" for number in range(100)])

    def test_the_first_answer_of_a_chat_comes_before_the_last_question(self):
        answered = threading.Event()

        def questions():
            yield b"first"
            self.assertTrue(answered.wait(10), "the answer waits for the end of the question")
            yield b"second"

        answers = self.call("stream_stream", "Chat", questions())
        self.assertEqual(next(answers), b"tsrif")
        answered.set()
        self.assertEqual(list(answers), [b"dnoces"])

    def test_an_error_status_comes_in_the_trailers_as_the_server_set_it(self):
        with self.assertRaises(grpc.RpcError) as failed:
            self.call("unary_unary", "Fail", b"")
        self.assertEqual(failed.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertEqual(failed.exception.details(), "não, not like this")

    def test_an_unknown_method_is_the_answer_of_the_server(self):
        with self.assertRaises(grpc.RpcError) as failed:
            self.call("unary_unary", "None", b"")
        self.assertEqual(failed.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_call_that_the_client_cancels_ends_at_the_server(self):
        self.server.cancelled.clear()
        call = self.call("unary_stream", "Wait", b"")
        self.assertEqual(next(call), b"started")
        call.cancel()
        self.assertTrue(self.server.cancelled.wait(10), "the server never heard of it")

    def test_calls_without_a_good_token_never_reach_the_server(self):
        before = len(self.server.metadata)
        expired = (("authorization", f"Bearer {self.issuer.token(exp=1)}"),)
        for metadata in ((), expired):
            with self.assertRaises(grpc.RpcError) as refused:
                self.call("unary_unary", "Unary", b"", metadata=metadata)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(len(self.server.metadata), before)

    def test_many_calls_share_one_connection(self):
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: self.call("unary_unary", "Unary", str(n).encode()), range(400)))
        self.assertEqual(answers, [str(number).encode() for number in range(400)])


if __name__ == "__main__":
    harness.main()

"""A collector that decodes spans with the classes that protoc made of OpenTelemetry's own files.

sidegate is a build with the feature `otlp` here; the binary under test has it not, and must say so.
"""

import json
import os
import signal
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlencode

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import harness
import outside
from harness import (
    BINARY,
    PATIENCE,
    WORK,
    Echo,
    Issuer,
    Peer,
    Server,
    Sidegate,
    ask,
    background,
    bearer,
    eventually,
    route,
    upstream,
)

WITH_OTLP = os.environ["SIDEGATE_TEST_OTLP"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DROPPED, EXPORTED = "sidegate_spans_dropped_total", "sidegate_spans_exported_total"


class Collector:
    """Takes spans over HTTP, and over TLS where it has a certificate."""

    name = "collector"

    def __init__(self, certificate=None):
        self.requests, self.statuses, self.released = [], [], threading.Event()
        self.released.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.released.wait()
                status = collector.statuses.pop(0) if collector.statuses else 200
                if status == 200:
                    collector.requests.append((self.headers, body, ExportTraceServiceRequest.FromString(body)))
                self.send_response(status)
                if status == 503:
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Says nothing: the tests read `requests`."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*certificate)
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def log(self):
        return "\n".join(str(message) for _, _, message in self.requests)

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def settings(self, **changes):
        return {"otlp": {"url": f"http://127.0.0.1:{self.port}/v1/traces", "interval": "20ms", **changes}}

    def spans(self):
        return [
            span
            for _, _, message in self.requests
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, trace):
        """The spans of one trace, once its request is among them."""

        def whole():
            spans = [span for span in self.spans() if span.trace_id.hex() == trace]
            return any(span.kind == Span.SPAN_KIND_SERVER for span in spans) and spans

        return eventually("the spans of the trace come", whole)


def attributes(span):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def place(span):
    return span.trace_id, span.span_id


def linked(span):
    return {place(link) for link in span.links}


def traced(trace, sampled=True):
    return {"traceparent": f"00-{trace}-{PARENT}-{'01' if sampled else '00'}"}


def number(at):
    return f"{0x1000 + at:032x}"


class Spans(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.echo, cls.collector = Issuer(), cls.start(Echo()), cls.start(Collector())
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "upstreams": [upstream(cls.echo.port, credential={"none": {}})],
                    "routes": [route(paths=["/*"])],
                    "traces": cls.collector.settings(resource={"service.name": "orders", "k8s.pod.name": "orders-0"}),
                },
                binary=WITH_OTLP,
            )
        )

    def test_the_spans_of_a_request_are_a_tree_that_the_upstream_goes_on(self):
        headers = bearer(self.issuer.token()) | traced(TRACE)
        self.assertEqual(self.sidegate.ask("/orders/7?x=1", headers=headers).status, 200)
        spans = self.collector.of(TRACE)
        [server] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
        [client] = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
        self.assertEqual(server.parent_span_id.hex(), PARENT)
        self.assertEqual(client.parent_span_id, server.span_id)
        seen = self.echo.requests[-1]["headers"]["traceparent"]
        self.assertEqual(seen, f"00-{TRACE}-{client.span_id.hex()}-01")
        self.assertEqual((server.name, client.name), ("GET /*", "GET"))
        told = attributes(server)
        self.assertEqual(
            {name: told[name] for name in ("http.request.method", "http.route", "http.response.status_code")},
            {"http.request.method": "GET", "http.route": "/*", "http.response.status_code": 200},
        )
        self.assertEqual((told["sidegate.decision"], told["sidegate.reason"]), ("allow", "allowed"))
        told = attributes(client)
        self.assertEqual((told["server.address"], told["server.port"]), ("127.0.0.1", self.echo.port))
        self.assertEqual(told["url.scheme"], "http")
        self.assertLessEqual(server.start_time_unix_nano, client.start_time_unix_nano)
        self.assertLessEqual(client.end_time_unix_nano, server.end_time_unix_nano)
        self.assertLess(abs(server.end_time_unix_nano / 1e9 - time.time()), 3600)

    def test_a_message_says_who_sends_it(self):
        self.sidegate.ask("/", headers=traced(number(1)))
        self.collector.of(number(1))
        headers, _, message = self.collector.requests[-1]
        self.assertEqual(headers["Content-Type"], "application/x-protobuf")
        [resource] = message.resource_spans
        said = attributes(resource.resource)
        self.assertEqual((said["service.name"], said["k8s.pod.name"]), ("orders", "orders-0"))
        self.assertRegex(said["service.version"], r"^\d+\.\d+\.\d+")
        self.assertEqual(resource.scope_spans[0].scope.name, "sidegate")

    def test_what_the_client_does_not_record_is_not_exported(self):
        self.sidegate.ask("/", headers=traced(number(2), sampled=False))
        self.sidegate.ask("/", headers=traced(number(3)))
        self.collector.of(number(3))
        self.assertNotIn(number(2), {span.trace_id.hex() for span in self.collector.spans()})

    def test_a_refusal_is_no_failure_of_ours_and_says_why(self):
        self.assertEqual(self.sidegate.ask("/", headers=traced(number(4))).status, 401)
        [server] = self.collector.of(number(4))
        self.assertEqual(attributes(server)["sidegate.reason"], "token_missing")
        self.assertEqual(server.status.code, Status.STATUS_CODE_UNSET)

    def test_nothing_is_exported_that_only_the_client_knows(self):
        token = self.issuer.token(sub="canary-user")
        headers = {
            **bearer(token),
            **traced(number(5)),
            "Cookie": "canary-cookie=1",
            "User-Agent": "canary-agent",
            "Host": "canary-host.test",
            "tracestate": "canary=1",
            "X-Forwarded-For": "203.0.113.77",
        }
        self.sidegate.ask("/canary-path/7?canary=query", headers=headers)
        self.sidegate.ask("/canary-path/7?canary=query", headers=bearer("canary.no.token") | traced(number(6)))
        self.collector.of(number(5))
        self.collector.of(number(6))
        for _, body, message in self.collector.requests:
            for secret in ("canary", "203.0.113.77", token, token.split(".")[2], "alice@"):
                self.assertNotIn(secret.encode(), body)
                self.assertNotIn(secret, str(message))


class Patient(outside.Authority):
    """An authority whose renewals take as long as the test wants."""

    def __init__(self):
        self.asked, self.may_answer = threading.Event(), threading.Event()
        super().__init__()

    def answer(self, form):
        if form["grant_type"] == "refresh_token":
            self.asked.set()
            self.may_answer.wait()
        return super().answer(form)


class Renewals(Peer):
    def test_a_renewal_is_linked_with_all_who_waited_for_it_and_they_with_it(self):
        authority, echo, collector = self.start(Patient()), self.start(Echo()), self.start(Collector())
        settings = outside.settings(authority, echo, WORK)
        running = self.start(
            Sidegate({**settings, "store": {"memory": {}}, "traces": collector.settings()}, binary=WITH_OTLP)
        )
        form = {"grant_type": "password", "username": "grace-canary", "password": outside.PASSWORD, "client_id": "app"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", **traced(number(100))}
        signed_in = running.ask("/oauth20/token", method="POST", headers=headers, body=urlencode(form))
        self.assertEqual(signed_in.status, 200, signed_in.text())
        token = signed_in.json()["access_token"]
        [question] = [span for span in collector.of(number(100)) if span.kind == Span.SPAN_KIND_CLIENT]
        self.assertEqual(attributes(question)["server.port"], authority.port)

        over = authority.books["grace-canary"].expiries[1]
        eventually("the authority's token is over", lambda: time.time() > over)
        waiting = range(101, 105)
        with ThreadPoolExecutor(len(waiting)) as several:
            headers = bearer(token)
            answers = [several.submit(running.ask, "/x", headers=headers | traced(number(at))) for at in waiting]
            self.assertTrue(authority.asked.wait(PATIENCE))
            in_flight = "sidegate_http_requests_in_flight"
            eventually("all of them wait", lambda: running.metric(in_flight) == len(waiting))
            time.sleep(0.2)  # from the door to the renewal
            authority.may_answer.set()
            self.assertEqual([answer.result().status for answer in answers], [200] * len(waiting))
        servers = [span for at in waiting for span in collector.of(number(at)) if span.kind == Span.SPAN_KIND_SERVER]
        [renewal] = eventually(
            "the renewal is told of",
            lambda: [span for span in collector.spans() if span.name == "renew authority_token"],
        )
        self.assertEqual(linked(renewal), {place(span) for span in servers})
        for span in servers:
            self.assertEqual(linked(span), {place(renewal)})
        self.assertEqual(attributes(renewal)["sidegate.result"], "renewed")
        [question] = [span for span in collector.spans() if span.parent_span_id == renewal.span_id]
        self.assertEqual(attributes(question)["server.port"], authority.port)
        for _, body, _ in collector.requests:
            for secret in ("canary", outside.PASSWORD, token, "at:grace", "rt:grace"):
                self.assertNotIn(secret.encode(), body)


class Delivery(Peer):
    """One process for each test: they trouble the collector."""

    def setUp(self):
        self.issuer, self.echo, self.collector = Issuer(), self.start(Echo()), self.start(Collector())

    def sidegate(self, traces):
        return self.start(
            Sidegate(
                {
                    "issuers": [self.issuer.settings()],
                    "upstreams": [upstream(self.echo.port, credential={"none": {}})],
                    "routes": [route()],
                    "traces": traces,
                },
                binary=WITH_OTLP,
            )
        )

    def many(self, running, count):
        headers = bearer(self.issuer.token())
        with ThreadPoolExecutor(8) as several:
            return list(several.map(lambda _: running.ask("/x", headers=headers).status, range(count)))

    def test_requests_do_not_notice_a_collector_that_hangs_and_the_loss_is_counted(self):
        self.collector.released.clear()
        running = self.sidegate(self.collector.settings(queue=16, timeout="60s"))
        self.assertEqual(set(self.many(running, 400)), {200})
        dropped = running.metric(DROPPED, reason="no_room")
        # Two spans each; 16 wait and one message is under way.
        self.assertGreaterEqual(dropped, 800 - 16 - 512)
        self.collector.released.set()
        eventually("what waited is taken", lambda: running.metric(EXPORTED) + dropped == 800)
        self.assertEqual(len(self.collector.spans()), running.metric(EXPORTED))

    def test_requests_do_not_notice_that_nobody_collects(self):
        self.collector.stop()
        running = self.sidegate(self.collector.settings(queue=16))
        self.assertEqual(set(self.many(running, 200)), {200})
        self.assertGreater(running.metric(DROPPED, reason="no_room"), 0)
        self.assertEqual(running.log().count("the collector does not take spans"), 1)

    def test_a_collector_that_has_no_time_is_sent_the_same_again(self):
        self.collector.statuses = [503, 503]
        running = self.sidegate(self.collector.settings())
        self.many(running, 1)
        eventually("both spans are taken", lambda: running.metric(EXPORTED) == 2)
        self.assertEqual(running.metric(DROPPED), 0)

    def test_sigterm_sends_what_still_waits(self):
        running = self.sidegate(self.collector.settings(interval="60s"))
        self.assertEqual(self.many(running, 10), [200] * 10)
        running.signal(signal.SIGTERM)
        self.assertEqual(running.wait(), 0)
        self.assertEqual(len(self.collector.spans()), 20)

    def test_a_collector_behind_tls_is_asked_with_the_key_of_a_file(self):
        key, certificate, token = WORK / "collector.key", WORK / "collector.pem", WORK / "collector.token"
        subprocess.run(
            [
                *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(),
                *("-subj", "/CN=collector", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        token.write_text("Bearer of-the-collector\n")
        secure = self.start(Collector((certificate, key)))
        url = f"https://127.0.0.1:{secure.port}/v1/traces"
        running = self.sidegate(
            secure.settings(url=url, ca_file=str(certificate), header_files={"Authorization": str(token)})
        )
        self.many(running, 1)
        eventually("the spans are taken", lambda: len(secure.spans()) == 2)
        self.assertEqual(secure.requests[0][0]["Authorization"], "Bearer of-the-collector")
        self.assertNotIn("of-the-collector", running.log())


class Without(Peer):
    def test_the_binary_as_it_is_shipped_says_that_it_has_no_such_feature(self):
        configuration = WORK / "without.yaml"
        configuration.write_text(
            json.dumps(
                {
                    "upstreams": [upstream(1)],
                    "routes": [{"name": "x", "paths": ["/x"], "upstream": "api", "public": True}],
                    "traces": {"otlp": {"url": "http://127.0.0.1:4318/v1/traces"}},
                }
            )
        )
        for binary, code in ((BINARY, 64), (WITH_OTLP, 0)):
            checked = subprocess.run(
                [binary, "check", "-c", configuration], check=False, capture_output=True, text=True
            )
            self.assertEqual(checked.returncode, code, checked.stdout + checked.stderr)
            said = "this build has no otlp feature" in checked.stdout + checked.stderr
            self.assertEqual(said, code == 64)

    def test_a_trace_goes_through_it_as_it_came(self):
        issuer, echo = Issuer(), self.start(Echo())
        running = self.start(
            Sidegate(
                {
                    "issuers": [issuer.settings()],
                    "upstreams": [upstream(echo.port, credential={"none": {}})],
                    "routes": [route()],
                }
            )
        )
        headers = {**bearer(issuer.token()), **traced(TRACE), "tracestate": "vendor=1"}
        self.assertEqual(ask(running.port, "/x", headers=headers).status, 200)
        seen = echo.requests[-1]["headers"]
        self.assertEqual((seen["traceparent"], seen["tracestate"]), (traced(TRACE)["traceparent"], "vendor=1"))


if __name__ == "__main__":
    harness.main()

"""A client of the .NET token APIs, compiled by mono: what the framework's own serializers make of our answers."""

import hashlib
import json
import subprocess
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import harness
from harness import WORK, Echo, Peer, Sidegate, background, upstream

PASSWORD, API_KEY = "correct-horse-battery", "f47ac10b-58cc-4372-a567-0e02b2c3d479"
CLIENT, SECRET = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "c56a4180-65aa-42ec-a945-5fd21dec0538"
REFERENCES = ("System.Net.Http", "System.Runtime.Serialization", "System.Xml")
TRANSPORTS = ("webrequest", "httpclient")
ODD = "Zoë <b>&\"'😀"


def hashed(secret):
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


SETTINGS = {
    "store": {"memory": {}},
    "authority": {
        "issuer": "http://127.0.0.1:8080",
        "audiences": ["api"],
        "clients": [
            {"id": "pos", "public": True, "grants": ["password", "refresh_token"], "scopes": ["orders"]},
            {
                "id": CLIENT,
                "secret_hashes": [hashed(SECRET)],
                "grants": ["api_key", "refresh_token"],
                "scopes": ["orders", "stock"],
            },
        ],
        "users": [
            {
                "username": "maria",
                "password_hash": hashed(PASSWORD),
                "api_key_hashes": [hashed(API_KEY)],
                "claims": {"email": ODD, "number": 6, "sequence": 8, "external": True, "company": "12"},
            }
        ],
        "endpoints": {
            "redex": {},
            "consinco": {
                "client": "pos",
                "zone": "America/Sao_Paulo",
                "claims": {"id": "number", "userSequence": "sequence", "isExt": "external", "username": "email"},
            },
        },
    },
}


class Outside:
    """An authority outside that speaks `oauth2` and `redex`; its refresh tokens are good once."""

    name = "outside"

    def __init__(self):
        self.asked, self.live, self.given = asked, live, given = [], set(), []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                speaks_redex = self.path.startswith("/public/")
                sent = json.loads(body) if speaks_redex else dict(parse_qsl(body, strict_parsing=True))
                asked.append(sent)
                old = sent.get("RefreshToken") or sent.get("refresh_token")
                good = old in live if old else sent.get("ApiKey") == API_KEY or sent.get("password") == PASSWORD
                live.discard(old)
                number = len(given) + 1
                access, refresh = f"at-{number}", f"rt-{number} <&é>"
                if good:
                    given.append(access)
                    live.add(refresh)
                if speaks_redex:
                    data = {"AccessToken": access, "RefreshToken": refresh, "ExpiresIn": "3600", "TokenType": "Bearer"}
                    errors = None if good else [{"Key": "invalid_grant", "Message": "invalid_grant"}]
                    status = 200 if good else 401
                    answer = {"Data": data if good else None, "Errors": errors, "StatusCode": status}
                else:
                    status = 200 if good else 400
                    tokens = {"access_token": access, "refresh_token": refresh, "expires_in": 3600}
                    answer = {"token_type": "bearer", **tokens} if good else {"error": "invalid_grant"}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                """Says nothing: the tests read `asked`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def log(self):
        # Never what was asked: it is full of secrets.
        return f"{len(self.asked)} questions, {len(self.given)} sessions and renewals"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Old(Peer):
    """Peers that are the compiled client."""

    @classmethod
    def compile(cls):
        cls.program = WORK / "legacy.exe"
        if not cls.program.exists():
            source = Path(__file__).parent / "dotnet" / "Legacy.cs"
            references = [f"-r:{name}.dll" for name in REFERENCES]
            subprocess.run(["mcs", f"-out:{cls.program}", *references, source], check=True, timeout=120)

    def lines(self, mode, transport, *credential, sidegate=None):
        """What the client saw, by step and name."""
        base = f"http://127.0.0.1:{(sidegate or self.sidegate).port}"
        command = ["mono", self.program, mode, transport, base, f"{base}/orders", *credential]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def check_steps(self, seen):
        for step in ("login", "call", "refresh", "call_again", "retry"):
            self.assertEqual(seen[f"{step}.status"], "200", step)
        self.assertEqual(seen["refused.status"], "401")


class TheOldClient(Old):
    @classmethod
    def prepare(cls):
        cls.compile()
        cls.echo = cls.start(Echo())
        plain = upstream(cls.echo.port, credential={"none": {}})
        cls.sidegate = cls.start(Sidegate({**SETTINGS, "upstreams": [plain], "routes": [harness.route()]}))

    def check_token(self, seen, step, names, media_type):
        token = {name: seen[f"{step}.{name}"] for name in names}
        access, kind, expires, refresh, user, number, login, sequence, code, role, company, what, external, login_id = (
            token.values()
        )
        self.assertTrue(access and refresh, token)
        self.assertEqual((kind, expires, user, number), ("bearer", "3600", ODD, "6"))
        self.assertEqual((login, sequence, code, login_id), ("maria", "8", "maria", "maria"))
        self.assertEqual((role, company, what, external), ("null", "12", "null", "True"))
        self.assertEqual(seen[f"{step}.media_type"], media_type)

    def test_xml_by_the_data_contract_serializer(self):
        names = """accessToken tokenType expiresIn refreshToken userName id name seqUser userCode permissionRole company
            companyType isExt loginId""".split()
        for transport in TRANSPORTS:
            with self.subTest(transport):
                seen = self.lines("xml", transport, "12", "maria", PASSWORD)
                self.check_steps(seen)
                self.check_token(seen, "login", names, "application/xml")
                self.check_token(seen, "refresh", names, "text/xml")
                self.assertTrue(seen["refused.message"])
                issued, expires = (datetime.fromisoformat(seen[f"login.{name}"][:19]) for name in ("issued", "expires"))
                self.assertEqual(expires - issued, timedelta(hours=1))
                # The login's time, also in the answer to a refresh.
                self.assertEqual(seen["refresh.issued"], seen["login.issued"])

    def test_json_by_the_data_contract_json_serializer(self):
        names = """AccessToken TokenType ExpiresIn RefreshToken UserName Id Name Sequence UserCode PermissionRole
            Company CompanyType IsExternal LoginId""".split()
        for transport in TRANSPORTS:
            with self.subTest(transport):
                seen = self.lines("json", transport, "12", "maria", PASSWORD)
                self.check_steps(seen)
                self.check_token(seen, "login", names, "application/json")
                self.check_token(seen, "refresh", names, "text/json")
                self.assertRegex(seen["login.Issued"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}-03:00$")

    def test_the_envelope_of_redex(self):
        for transport in TRANSPORTS:
            with self.subTest(transport):
                seen = self.lines("redex", transport, API_KEY, CLIENT, SECRET)
                self.check_steps(seen)
                for step in ("login", "refresh", "retry"):
                    self.assertEqual((seen[f"{step}.ExpiresIn"], seen[f"{step}.TokenType"]), ("3600", "Bearer"))
                    self.assertEqual((seen[f"{step}.Scope"], seen[f"{step}.StatusCode"]), ("orders stock", "200"))
                self.assertEqual(seen["retry.RefreshToken"], seen["refresh.RefreshToken"])
                self.assertEqual(seen["refused.Key"], "invalid_grant")

    def test_another_company_is_refused(self):
        base = f"http://127.0.0.1:{self.sidegate.port}"
        command = ["mono", self.program, "xml", "webrequest", base, f"{base}/orders", "13", "maria", PASSWORD]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("login.status=401", done.stdout)


class TheOldClientBeforeAnotherAuthority(Old):
    """sidegate serves `consinco`, and another token API vouches."""

    @classmethod
    def prepare(cls):
        cls.compile()
        cls.echo, cls.outside = cls.start(Echo()), cls.start(Outside())
        (WORK / "client").write_text(SECRET)
        (WORK / "key").write_text(API_KEY)
        base = f"http://127.0.0.1:{cls.outside.port}"
        client = {"id": CLIENT, "secret_file": str(WORK / "client")}
        user = {**SETTINGS["authority"]["users"][0], "account": {"api_key_file": str(WORK / "key")}}
        redex = {"dialect": "redex", "url": base, "client": client, "accounts": "mapped"}
        oauth2 = {"dialect": "oauth2", "url": f"{base}/token", "client": client}
        cls.redex, cls.oauth2 = cls.front(redex, users=[user]), cls.front(oauth2, users=[])

    @classmethod
    def front(cls, remote, users):
        own = SETTINGS["authority"]
        consinco = {"endpoints": {"consinco": own["endpoints"]["consinco"]}}
        authority = {**own, **consinco, "clients": own["clients"][:1], "users": users, "remote": remote}
        if not users:
            del authority["users"]
        route = harness.route(policy={"issuers": ["local"], "audiences": ["api"]})
        behind = upstream(cls.echo.port, credential={"authority_token": {}})
        return cls.start(Sidegate({**SETTINGS, "authority": authority, "upstreams": [behind], "routes": [route]}))

    def check(self, sidegate, begun, expected):
        for mode, transport in [("xml", "webrequest"), ("xml", "httpclient"), ("json", "webrequest")]:
            with self.subTest(mode=mode, transport=transport):
                given, calls, asked = (
                    len(list) for list in (self.outside.given, self.echo.requests, self.outside.asked)
                )
                seen = self.lines(mode, transport, "12", "maria", PASSWORD, sidegate=sidegate)
                self.check_steps(seen)
                # One begins, one goes on; the retry and the refusal trouble nobody.
                self.assertEqual(len(self.outside.asked) - asked, 2)
                tokens = self.outside.given[given:]
                shown = [call["headers"]["authorization"] for call in self.echo.requests[calls:]]
                self.assertEqual(shown, [f"Bearer {token}" for token in tokens])
                self.assertLessEqual(begun.items(), self.outside.asked[asked].items())
                for name, value in expected.items():
                    for step in ("login", "refresh"):
                        self.assertEqual(seen[f"{step}.{name[mode == 'json']}"], value, step)
                # Nothing of what the authority gave has come so far.
                self.assertFalse([value for value in seen.values() if value.startswith(("at-", "rt-"))])
                self.assertNotIn("rt-", sidegate.log())

    def test_that_speaks_redex(self):
        user = {("userName", "UserName"): ODD, ("id", "Id"): "6", ("company", "Company"): "12"}
        self.check(self.redex, {"ApiKey": API_KEY, "ClientId": CLIENT, "ClientSecret": SECRET}, user)

    def test_that_speaks_oauth2(self):
        user = {("loginId", "LoginId"): "maria", ("userName", "UserName"): "null", ("id", "Id"): "null"}
        self.check(self.oauth2, {"grant_type": "password", "username": "maria", "password": PASSWORD}, user)


if __name__ == "__main__":
    harness.main()

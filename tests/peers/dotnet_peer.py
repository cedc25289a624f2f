"""A client of the .NET token APIs, compiled by mono: what the framework's own serializers make of our answers."""

import hashlib
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import harness
from harness import WORK, Echo, Peer, Sidegate, upstream

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


class TheOldClient(Peer):
    @classmethod
    def prepare(cls):
        cls.program = WORK / "legacy.exe"
        source = Path(__file__).parent / "dotnet" / "Legacy.cs"
        references = [f"-r:{name}.dll" for name in REFERENCES]
        subprocess.run(["mcs", f"-out:{cls.program}", *references, source], check=True, timeout=120)
        cls.echo = cls.start(Echo())
        plain = upstream(cls.echo.port, credential={"none": {}})
        cls.sidegate = cls.start(Sidegate({**SETTINGS, "upstreams": [plain], "routes": [harness.route()]}))

    def lines(self, mode, transport, *credential):
        """What the client saw, by step and name."""
        base = f"http://127.0.0.1:{self.sidegate.port}"
        command = ["mono", self.program, mode, transport, base, f"{base}/orders", *credential]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def check_steps(self, seen):
        for step in ("login", "call", "refresh", "call_again", "retry"):
            self.assertEqual(seen[f"{step}.status"], "200", step)
        self.assertEqual(seen["refused.status"], "401")

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


if __name__ == "__main__":
    harness.main()

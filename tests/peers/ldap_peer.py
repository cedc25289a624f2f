"""Debian's slapd as the directory of users: binds, refusals, attributes, TLS, an outage, names that want to be more."""

import base64
import json
import subprocess
from urllib.parse import urlencode

import harness
from harness import PATIENCE, WORK, Peer, Program, Sidegate, ask, eventually, free_port, route, upstream

BASE = "dc=example,dc=com"
PEOPLE = f"ou=people,{BASE}"
PASSWORDS = {"ana": "swordfish", "o,brien": "a, b", "zoé": "pässword", "*": "star"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def escaped(value):
    """A value within a name (RFC 4514), said in our own words: everything but letters and digits by its bytes."""
    return "".join(c if c.isascii() and c.isalnum() else "".join(f"\\{b:02x}" for b in c.encode()) for c in value)


def entries():
    yield f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n"
    yield f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n"
    for name, password in PASSWORDS.items():
        lines = [
            f"dn: uid={escaped(name)},{PEOPLE}",
            "objectClass: inetOrgPerson",
            "cn: Someone",
            "sn: One",
            f"uid: {name}",
            f"userPassword: {password}",
        ]
        if name == "ana":
            lines += ["mail: ana@example.com", "telephoneNumber: 1", "telephoneNumber: 2"]
        yield "\n".join(lines) + "\n"
    # There, and without a password.
    yield f"dn: uid=nopass,{PEOPLE}\nobjectClass: inetOrgPerson\ncn: N\nsn: N\nuid: nopass\n"
    # Outside of where users are looked for.
    yield f"dn: uid=root,{BASE}\nobjectClass: inetOrgPerson\ncn: R\nsn: R\nuid: root\nuserPassword: toor\n"


class Directory:
    """slapd with a database of its own, in the foreground, on free ports."""

    name = "slapd"

    def __init__(self):
        self.folder = WORK / f"slapd-{free_port()}"
        (self.folder / "data").mkdir(parents=True)
        self.port, self.tls_port = free_port(), free_port()
        self.certificate, key = self.folder / "server.pem", self.folder / "server.key"
        request = self.folder / "request.conf"
        # Not an authority: rustls takes none for a server.
        request.write_text(
            "[req]\ndistinguished_name = name\nx509_extensions = server\n[name]\n"
            "[server]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical, CA:FALSE\n"
        )
        kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        run("openssl", "req", *kind.split(), "-config", request, "-keyout", key, "-out", self.certificate)
        self.config = self.folder / "slapd.conf"
        schemas = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
        self.config.write_text(
            f"{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {self.folder}/pid\n"
            f"TLSCertificateFile {self.certificate}\nTLSCertificateKeyFile {key}\n"
            f'database mdb\nsuffix "{BASE}"\ndirectory {self.folder}/data\n'
            "access to attrs=userPassword by anonymous auth by * none\naccess to * by self read by * none\n"
        )
        data = self.folder / "data.ldif"
        data.write_text("\n".join(entries()))
        run("/usr/sbin/slapadd", "-f", self.config, "-l", data)
        self.begin()

    def begin(self):
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        self.program = Program("slapd", "/usr/sbin/slapd", "-f", self.config, "-h", urls, "-d", "0")
        self.program.wait_open(self.port, self.tls_port)

    def stop(self):
        self.program.stop()

    def log(self):
        return self.program.log()


def run(*command):
    subprocess.run([str(part) for part in command], check=True, timeout=PATIENCE, capture_output=True)


def settings(directory, **ldap):
    rate = {"requests": 100_000}
    return {
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "clients": [
                {
                    "id": "app",
                    "public": True,
                    "grants": ["password", "refresh_token"],
                    "scopes": ["read"],
                    "access_token": {"format": "jwt"},
                }
            ],
            "user_service": {
                "ldap": {
                    "url": f"ldap://127.0.0.1:{directory.port}",
                    "bind_dn": f"uid={{username}},{PEOPLE}",
                    "subject": "uid",
                    "claims": {"email": "mail", "phones": "telephoneNumber", "id": "entryUUID", "none": "description"},
                    "timeout": "5s",
                    **ldap,
                }
            },
            "throttle": {"per_pair": rate, "per_address": rate, "per_name": rate},
        },
        "store": {"memory": {}},
        "upstreams": [upstream(1)],
        "routes": [route()],
    }


def payload(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Users(Peer):
    @classmethod
    def prepare(cls):
        cls.directory = cls.start(Directory())
        # The tokens are JWTs, which show their claims.
        cls.sidegate = cls.start(Sidegate(settings(cls.directory)))

    def sign_in(self, username, password, sidegate=None):
        form = {"grant_type": "password", "client_id": "app", "username": username, "password": password}
        return ask((sidegate or self.sidegate).port, "/oauth20/token", "POST", FORM, urlencode(form))

    def claims(self, answer):
        self.assertEqual(answer.status, 200, answer.text())
        return payload(answer.json()["access_token"])

    def assert_wrong(self, answer):
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_grant"), answer.text())

    def test_a_right_password_signs_in_whatever_the_name_is_made_of(self):
        for name, password in PASSWORDS.items():
            answer = self.sign_in(name, password)
            self.assertEqual(answer.status, 200, (name, answer.text()))

    def test_wrong_unknown_and_without_a_password_are_one_answer(self):
        answers = [
            self.sign_in(name, password)
            for name, password in [("ana", "wrong"), ("nobody", "swordfish"), ("nopass", "x"), ("ana", "Swordfish")]
        ]
        for answer in answers:
            self.assert_wrong(answer)
        self.assertEqual(len({answer.text() for answer in answers}), 1)

    def test_an_empty_password_is_not_an_anonymous_bind(self):
        for name in ("ana", "nobody", ""):
            answer = self.sign_in(name, "")
            self.assertIn((answer.status, answer.json()["error"]), [(400, "invalid_grant"), (400, "invalid_request")])

    def test_a_name_stays_a_name(self):
        for name in (
            "*)(uid=*",
            "an*",
            "ana,ou=people",
            f"root,{BASE}",
            f"x,{PEOPLE}",
            "ana\x00",
            "ana\x00,dc=com",
            "ana+cn=Someone",
            "ana\\",
            '"ana"',
            "#ana",
            "ana;uid=root",
        ):
            for password in ("swordfish", "toor"):
                self.assert_wrong(self.sign_in(name, password))

    def test_the_entry_says_who_it_is_whatever_was_typed(self):
        self.assertEqual(self.claims(self.sign_in("ANA", "swordfish"))["sub"], "ana")

    def test_attributes_are_claims(self):
        claims = self.claims(self.sign_in("ana", "swordfish"))
        self.assertEqual(claims["email"], "ana@example.com")
        self.assertEqual(sorted(claims["phones"]), ["1", "2"])
        self.assertEqual(len(claims["id"]), 36)
        self.assertNotIn("none", claims)

    def test_a_refresh_goes_on_without_the_directory(self):
        first = self.sign_in("ana", "swordfish").json()
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": first["refresh_token"]}
        answer = ask(self.sidegate.port, "/oauth20/token", "POST", FORM, urlencode(form))
        self.assertEqual(answer.status, 200, answer.text())

    def test_ldaps_and_starttls_believe_only_the_authority_that_is_named(self):
        here = str(self.directory.certificate)
        ldaps = {"url": f"ldaps://localhost:{self.directory.tls_port}", "ca_file": here}
        start_tls = {"url": f"ldap://localhost:{self.directory.port}", "start_tls": True, "ca_file": here}
        for how in (ldaps, start_tls):
            with self.subTest(how["url"]):
                sidegate = Sidegate(settings(self.directory, **how))
                self.addCleanup(sidegate.stop)
                self.assertEqual(self.sign_in("ana", "swordfish", sidegate).status, 200)
                self.assert_wrong(self.sign_in("ana", "wrong", sidegate))
        del ldaps["ca_file"]
        sidegate = Sidegate(settings(self.directory, **ldaps))
        self.addCleanup(sidegate.stop)
        self.assertEqual(self.sign_in("ana", "swordfish", sidegate).status, 503)

    def test_no_password_is_logged(self):
        self.sign_in("ana", "canary-password")
        self.assertNotIn("canary-password", self.sidegate.log())


class Outage(Peer):
    def test_a_directory_that_is_away_is_no_refusal_and_its_return_is_noticed(self):
        directory = Directory()
        self.addCleanup(lambda: directory.stop())
        sidegate = Sidegate(settings(directory))
        self.addCleanup(sidegate.stop)
        form = {"grant_type": "password", "client_id": "app", "username": "ana", "password": "swordfish"}

        def sign_in():
            return ask(sidegate.port, "/oauth20/token", "POST", FORM, urlencode(form))

        self.assertEqual(sign_in().status, 200)
        directory.stop()
        away = sign_in()
        self.assertEqual((away.status, away.json()["error"]), (503, "temporarily_unavailable"))
        self.assertTrue(away.headers["Retry-After"])
        directory.begin()
        eventually("it is back", lambda: sign_in().status == 200)


if __name__ == "__main__":
    harness.main()

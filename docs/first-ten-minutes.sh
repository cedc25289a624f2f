#!/usr/bin/env bash
# The first ten minutes: what docs/first-ten-minutes.md tells, to run at once. Below step 1 it is that page word for word.
# shellcheck disable=SC1091 # venv/bin/activate is there once it is made
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -rf ten-minutes
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

step() { printf '\n== %s\n' "$*"; }

step "1. Build sidegate"
if [[ -z ${SIDEGATE_BIN:-} ]]; then
  cargo build --release --locked
  export PATH=$PWD/target/release:$PATH
else # one that is there already, under whatever name
  mkdir -p ten-minutes/bin
  ln -s "$SIDEGATE_BIN" ten-minutes/bin/sidegate
  export PATH=$PWD/ten-minutes/bin:$PATH
fi

step "2. Start an old API"
mkdir -p ten-minutes && cd ten-minutes
cat >api.py <<'END'
from http.server import BaseHTTPRequestHandler, HTTPServer

class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.path} for {self.headers.get('X-Forwarded-User', 'somebody')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", 3000), Api).serve_forever()
END
python3 api.py 2>api.log &
api=$!
until curl -s http://127.0.0.1:3000/ >/dev/null; do sleep 0.1; done
curl -sS http://127.0.0.1:3000/orders/7
curl -sS -H 'X-Forwarded-User: the-boss' http://127.0.0.1:3000/orders/7

step "3. Make the secrets"
umask 077
sidegate hash --generate >batch.secret   # the secret, and its hash on the second line
printf 'correct horse battery staple' | sidegate hash >ana.hash
sidegate keys master >master.keys
sidegate hash --generate | head -1 >admin.token
wc -l batch.secret ana.hash

step "4. Write the configuration"
cat >sidegate.yaml <<END
listeners:
  - { name: public, address: 127.0.0.1:8080 }
health: { address: 127.0.0.1:9901 }
admin: { address: 127.0.0.1:9902, token_file: admin.token }

authority:                             # who gives tokens: sidegate itself
  issuer: http://127.0.0.1:8080
  audiences: [orders-api]
  clients:
    - id: batch
      secret_hashes: ["$(tail -1 batch.secret)"]
      grants: [client_credentials]
      scopes: [orders]
    - id: till                         # an old client that knows names and passwords only
      public: true
      grants: [password, refresh_token]
      scopes: [orders]
  users:
    - { username: ana, subject: u-1001, password_hash: "$(cat ana.hash)" }
store: { redb: { path: sessions.redb } }
keys: { master_file: master.keys }

upstreams:
  - name: orders
    url: http://127.0.0.1:3000
    credential: { none: {} }           # the old API sees no token
    identity_headers: { X-Forwarded-User: sub }

routes:
  - name: orders
    paths: ["/orders/*"]
    upstream: orders
    policy: { audiences: [orders-api], scopes_all: [orders] }

log: { format: text, access: refused }
END
sidegate check -c sidegate.yaml

step "5. Start it"
sidegate run -c sidegate.yaml 2>sidegate.log &
sidegate=$!
until sidegate health --address 127.0.0.1:9901 >/dev/null 2>&1; do sleep 0.1; done
sidegate health --address 127.0.0.1:9901 && echo ready

step "6. Knock without a token"
curl -sS http://127.0.0.1:8080/orders/7; echo
curl -sS http://127.0.0.1:8080/admin; echo
grep -o 'status=.* code="[a-z_]*"' sidegate.log

step "7. Call as a program"
access=$(curl -sS -u "batch:$(head -1 batch.secret)" http://127.0.0.1:8080/oauth20/token -d grant_type=client_credentials |
  sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sS -H "Authorization: Bearer $access" -H 'X-Forwarded-User: the-boss' http://127.0.0.1:8080/orders/7

step "8. Call as a person, through a client library"
python3 -c 'import requests_oauthlib' 2>/dev/null ||
  { python3 -m venv venv && . venv/bin/activate && pip install -q requests-oauthlib; }
cat >client.py <<'END'
import os
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # this is loopback, without TLS
from oauthlib.oauth2 import LegacyApplicationClient
from requests_oauthlib import OAuth2Session

at = "http://127.0.0.1:8080"
session = OAuth2Session(client=LegacyApplicationClient("till"))
first = session.fetch_token(f"{at}/oauth20/token", username="ana", password="correct horse battery staple",
                            include_client_id=True)
print(session.get(f"{at}/orders/7").text, end="")
second = session.refresh_token(f"{at}/oauth20/token", client_id="till")
print("renewed:", first["access_token"] != second["access_token"])
print(session.get(f"{at}/orders/8").text, end="")
open("ana.access", "w").write(second["access_token"])
END
python3 client.py

step "9. See who is signed in"
sidegate sessions list --admin 127.0.0.1:9902 --token-file admin.token | cut -f2-5 | sort
curl -sS http://127.0.0.1:9902/status | grep '"alive"\|"mode"'

step "10. Revoke"
sidegate sessions revoke --user ana --admin 127.0.0.1:9902 --token-file admin.token
curl -sS -H "Authorization: Bearer $(cat ana.access)" http://127.0.0.1:8080/orders/7; echo

step "11. Stop"
kill $sidegate
wait $sidegate && echo drained
kill $api

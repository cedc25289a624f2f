from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from circle import API, BATCH, CALLBACK, WEB, browse, call, metadata

server = metadata()
ends = {"token_endpoint": server["token_endpoint"], "revocation_endpoint": server["revocation_endpoint"]}
renewed = []
session = OAuth2Session(
    *WEB,
    scope="orders",
    redirect_uri=CALLBACK,
    code_challenge_method="S256",
    update_token=lambda token, refresh_token=None, access_token=None: renewed.append(token),
    **ends,
)
verifier = "v" * 48
url, state = session.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier)
token = session.fetch_token(authorization_response=browse(url), state=state, code_verifier=verifier)
assert token["token_type"] == "bearer"
assert session.get(API).status_code == 200

# As if its time had come: the library renews it by itself.
first = session.token["refresh_token"]
session.token["expires_at"] = 0
assert session.get(API).status_code == 200
assert len(renewed) == 1 and session.token["refresh_token"] != first

access = session.token["access_token"]
answer = session.introspect_token(server["introspection_endpoint"], token=access)
assert answer.json()["active"] is True, answer.text
answer = session.revoke_token(server["revocation_endpoint"], token=session.token["refresh_token"])
assert answer.status_code == 200, answer.text
call(access, 401)
answer = session.introspect_token(server["introspection_endpoint"], token=access)
assert answer.json() == {"active": False}, answer.text
try:
    session.refresh_token(server["token_endpoint"], refresh_token=session.token["refresh_token"])
    raise AssertionError("a revoked refresh token was taken")
except OAuthError as refused:
    assert refused.error == "invalid_grant", refused

batch = OAuth2Session(*BATCH, scope="orders", token_endpoint_auth_method="client_secret_post", **ends)
batch.fetch_token(grant_type="client_credentials")
assert batch.get(API).status_code == 200

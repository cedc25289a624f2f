from circle import API, BATCH, CALLBACK, WEB, browse, call, metadata
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

server = metadata()
session = OAuth2Session(WEB[0], redirect_uri=CALLBACK, scope=["orders"], pkce="S256")
url, _ = session.authorization_url(server["authorization_endpoint"])
token = session.fetch_token(
    server["token_endpoint"], authorization_response=browse(url), client_secret=WEB[1], include_client_id=True
)
assert session.get(API).status_code == 200

first = token["refresh_token"]
token = session.refresh_token(server["token_endpoint"], auth=HTTPBasicAuth(*WEB))
assert token["refresh_token"] != first
assert session.get(API).status_code == 200

# It knows neither introspection nor revocation: by its own session, as its documentation says.
by_client = {"auth": HTTPBasicAuth(*WEB), "withhold_token": True}
answer = session.post(server["introspection_endpoint"], data={"token": token["access_token"]}, **by_client)
assert answer.json()["active"] is True, answer.text
answer = session.post(server["revocation_endpoint"], data={"token": token["access_token"]}, **by_client)
assert answer.status_code == 200, answer.text
call(token["access_token"], 401)
try:
    session.refresh_token(server["token_endpoint"], refresh_token=token["refresh_token"], auth=HTTPBasicAuth(*WEB))
    raise AssertionError("a revoked refresh token was taken")
except InvalidGrantError:
    pass

batch = OAuth2Session(client=BackendApplicationClient(client_id=BATCH[0], scope=["orders"]))
batch.fetch_token(server["token_endpoint"], client_id=BATCH[0], client_secret=BATCH[1])
assert batch.get(API).status_code == 200

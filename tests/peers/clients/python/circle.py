"""What both circles have in common: where sidegate is, a browser, and the protected API."""

import os

import requests

ISSUER, BROWSER, CALLBACK = (os.environ[name] for name in ("ISSUER", "BROWSER", "CALLBACK"))
WEB = ("web", "web-secret-2Vq8Zr5Tn1Xw7Ky4")
BATCH = ("batch", "batch-secret-9Lm3Pb6Hd0Jc8Fg2")
API = f"{ISSUER}/orders/7"
# Both libraries refuse plain http, which on loopback is all there is.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"


def metadata():
    return requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=20).json()


def browse(url):
    """Signs in and agrees; the address that the application is called at."""
    answer = requests.get(BROWSER, params={"url": url}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.text


def call(token, status):
    answer = requests.get(API, headers={"Authorization": f"Bearer {token}"}, timeout=20)
    assert answer.status_code == status, (answer.status_code, answer.text)

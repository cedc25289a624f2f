"""Chromium between sidegate and oidc-provider: people sign in there, and clients get tokens of sidegate."""

from pathlib import Path
from urllib.parse import urlencode, urlsplit

import harness
from browser_peer import Application, Person
from harness import WORK, Echo, Program, Sidegate, ask, bearer, free_port, route, upstream

PROVIDER = Path(__file__).parent / "oidc/sign_in.js"
SECRET = "sidegate-secret-there"


class Provider(Program):
    def __init__(self, callback):
        self.port = free_port()
        self.issuer = f"http://localhost:{self.port}"
        super().__init__("oidc-provider", "node", PROVIDER, self.port, callback)
        self.wait_open(self.port)


class Broker(Sidegate):
    """A sidegate that names itself by its own port, and a provider that sends people back there."""

    def __init__(self, echo):
        self.echo = echo
        super().__init__({})

    def write(self, _):
        origin = f"http://127.0.0.1:{self.port}"
        self.provider = Provider(f"{origin}/oauth20/callback")
        secret = WORK / "secret-there"
        secret.write_text(SECRET)
        secret.chmod(0o600)

        def client(id, **changes):
            return {
                "id": id,
                "name": "Household Ledger",
                "public": True,
                "grants": ["authorization_code", "refresh_token"],
                "redirect_uris": ["http://127.0.0.1/cb"],
                "scopes": ["orders"],
                **changes,
            }

        super().write(
            {
                "authority": {
                    "issuer": origin,
                    "audiences": ["api"],
                    "clients": [client("ledger"), client("own", consent="skip")],
                    "remote": {
                        "dialect": "oauth2",
                        "issuer": self.provider.issuer,
                        "client": {"id": "sidegate", "secret_file": str(secret)},
                        "authorization_parameters": {"prompt": "consent"},
                    },
                },
                "store": {"memory": {}},
                "upstreams": [
                    upstream(
                        self.echo.port, credential={"authority_token": {}}, identity_headers={"X-Forwarded-User": "sub"}
                    )
                ],
                "routes": [route(policy={"issuers": ["local"], "audiences": ["api"]})],
            }
        )

    def stop(self):
        super().stop()
        self.provider.stop()


class SignIn(Person):
    @classmethod
    def prepare(cls):
        cls.application = cls.start(Application())
        cls.echo = cls.start(Echo())
        cls.sidegate = cls.start(Broker(cls.echo))
        cls.origin = f"http://127.0.0.1:{cls.sidegate.port}"
        cls.open_browser()

    def open_page(self, **how):
        page = super().open_page(**how)
        # The provider's pages would like a font of the world's.
        local = ("127.0.0.1", "localhost")
        page.context.route(
            lambda url: urlsplit(url).hostname not in local,
            lambda asked: asked.fulfill(body="", content_type="text/css"),
        )
        return page

    def complain(self, text):
        # What Chromium thinks of the provider's own page is none of ours.
        if not text.startswith("[DOM]"):
            super().complain(text)

    def sign_in_there(self, page, name):
        page.locator("[name=login]").fill(name)
        page.locator("[name=password]").fill("whatever")
        self.assertEqual(urlsplit(page.url).netloc, f"localhost:{self.sidegate.provider.port}")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()

    def ask_token(self, **form):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = ask(self.sidegate.port, "/oauth20/token", "POST", headers, urlencode({"client_id": "ledger", **form}))
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()

    def shown(self, tokens):
        """What the upstream is shown of a call."""
        answer = self.sidegate.ask("/things", headers=bearer(tokens["access_token"]))
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()["headers"]

    def test_the_full_circle(self):
        page = self.open_page()
        page.goto(self.link())
        self.sign_in_there(page, "user-77")
        page.get_by_role("heading", name="Allow access?").wait_for()
        self.assertIn("user-77", page.content())
        page.get_by_role("button", name="Allow").click()
        page.get_by_role("heading", name="You are back").wait_for()
        answer = self.redeem(self.answer()["code"])
        self.assertEqual(answer.status, 200, answer.text())
        tokens = answer.json()
        shown = {}
        for round in range(4):
            seen = self.shown(tokens)
            self.assertEqual(seen["x-forwarded-user"], "user-77")
            shown[seen["authorization"]] = round
            tokens = self.ask_token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        self.assertEqual(len(shown), 4, "each refresh renews at the provider, whose refresh tokens are good once")
        self.assertTrue(all("sga1_" not in value for value in shown))
        self.assertEqual(
            [cookie["name"] for cookie in page.context.cookies(self.origin) if "away" in cookie["name"]], []
        )
        for secret in (*shown, tokens["access_token"], tokens["refresh_token"], SECRET):
            self.assertNotIn(secret.removeprefix("Bearer "), self.sidegate.log())

    def test_two_tabs_come_back_each_to_its_own_request(self):
        first = self.open_page()
        first.goto(self.link("own"))
        own = self.state
        second = first.context.new_page()
        second.goto(self.link("own"))
        self.sign_in_there(second, "user-78")
        second.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())
        self.state = own
        self.sign_in_there(first, "user-78")
        first.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())

    def test_who_is_not_signed_in_there_is_told_so_when_nobody_may_be_asked(self):
        page = self.open_page()
        page.goto(self.link("own", prompt="none"))
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertEqual(self.answer()["error"], "login_required")
        page.goto(self.link("own"))
        self.sign_in_there(page, "user-79")
        page.get_by_role("heading", name="You are back").wait_for()
        page.goto(self.link("own", prompt="none"))
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())

    def test_who_gives_up_there_goes_back_to_the_application(self):
        page = self.open_page()
        page.goto(self.link("own"))
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertEqual(self.answer()["error"], "access_denied")

    def test_a_return_works_in_no_other_browser_and_no_second_time(self):
        page, other = self.open_page(), self.open_page()
        returns = []
        page.on("request", lambda asked: returns.append(asked.url) if "/oauth20/callback?" in asked.url else None)
        page.goto(self.link("own"))
        self.sign_in_there(page, "user-80")
        page.get_by_role("heading", name="You are back").wait_for()
        for browser in (other, page):
            browser.goto(returns[0])
            browser.get_by_role("heading", name="This sign-in does not belong to this browser").wait_for()
        self.assertEqual(len(self.application.answers), 1)


if __name__ == "__main__":
    harness.main()

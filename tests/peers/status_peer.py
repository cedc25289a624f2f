"""Chromium on the pages of the admin listener: how it stands at a glance, and sessions that a person ends."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

import harness
from chromium import FLAGS
from harness import PATIENCE, WORK, Echo, Issuer, Peer, Sidegate, ask, bearer, eventually, free_port, upstream

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# Where screenshots go, for whoever wants to look at them.
SHOTS = os.environ.get("SIDEGATE_TEST_SHOTS")
PASSWORD = "correct horse battery"
TOKEN = "a-token-of-operators-4f1d2c7e9b"
HOSTILE = '<img src=x onerror=alert(1)> "mallory" \u202etxt'

# What no page may have: text that can hardly be read, targets that a finger misses, a page that is too wide.
MEASURE = """() => {
  const channel = value => { value /= 255; return value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4 };
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const shown = element => element.getClientRects().length && getComputedStyle(element).visibility !== 'hidden';
  const texts = [...document.querySelectorAll('body *')].filter(element => shown(element)
    && [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const contrast = element => {
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    return (a + .05) / (b + .05);
  };
  return {
    headings: document.querySelectorAll('h1').length,
    scroll: document.documentElement.scrollWidth,
    width: document.documentElement.clientWidth,
    texts: texts.map(element => [element.innerText.slice(0, 40), contrast(element)]),
    targets: [...document.querySelectorAll('button, nav a, .button, .target, summary, input:not([type=hidden])')]
      .filter(shown).map(element => [element.innerText || element.name,
        (element.type === 'checkbox' ? element.parentElement : element).getBoundingClientRect().height]),
  };
}"""


def settings(issuer, echo, admin_port):
    hashed = f"sha256:{hashlib.sha256(PASSWORD.encode()).hexdigest()}"
    token_file = WORK / "admin.token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)

    def client(id):
        return {"id": id, "public": True, "grants": ["password", "refresh_token"], "scopes": ["orders"]}

    policy = {"issuers": ["local", "test"], "audiences": ["api"]}
    return {
        "admin": {"address": f"127.0.0.1:{admin_port}", "token_file": str(token_file)},
        "issuers": [issuer.settings()],
        "authority": {
            "issuer": "http://127.0.0.1",
            "audiences": ["api"],
            "clients": [client("shop"), client("ledger")],
            "users": [{"username": name, "password_hash": hashed} for name in ("alice", "bob", HOSTILE)],
        },
        "store": {"memory": {}},
        "upstreams": [upstream(echo.port, credential={"none": {}}), upstream(9, name="away", credential={"none": {}})],
        "routes": [
            {"name": "orders", "paths": ["/orders/*"], "upstream": "api", "policy": policy},
            {
                "name": "payments",
                "paths": ["/payments/*"],
                "upstream": "api",
                "mode": "observe",
                "policy": {**policy, "scopes_all": ["pay"], "clients": ["shop", "ledger"]},
            },
            {"name": "reports", "paths": ["/reports/*"], "upstream": "away", "public": True},
        ],
    }


class Operator(Peer):
    """A sidegate with something to tell, and a browser."""

    @classmethod
    def prepare(cls):
        cls.issuer, echo, cls.admin_port = Issuer(), cls.start(Echo()), free_port()
        cls.sidegate = cls.start(Sidegate(settings(cls.issuer, echo, cls.admin_port)))
        cls.origin = f"http://localhost:{cls.admin_port}"
        playwright = sync_playwright().start()
        cls.programs.callback(playwright.stop)
        cls.chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        cls.programs.callback(cls.chromium.close)

    def setUp(self):
        self.complaints = []

    def tearDown(self):
        self.assertEqual(self.complaints, [], "the console stays empty, and no page breaks its own policy")

    def open_page(self, width=1280, height=900, script=False, scheme="light"):
        context = self.chromium.new_context(
            viewport={"width": width, "height": height}, java_script_enabled=script, color_scheme=scheme
        )
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.on("request", lambda request: self.assert_ours(request.url))
        return page

    def assert_ours(self, url):
        if not url.startswith((self.origin, "data:")):
            self.complaints.append(f"asked elsewhere: {url}")

    def token(self, user="alice", client="shop"):
        form = {"grant_type": "password", "client_id": client, "username": user, "password": PASSWORD}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = ask(self.sidegate.port, "/oauth20/token", "POST", headers, urlencode(form))
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()["access_token"]

    def orders(self, token):
        return self.sidegate.ask("/orders/7", headers=bearer(token)).status

    def traffic(self):
        """Some of everything that the page tells of."""
        token = self.token()
        for _ in range(4):
            self.assertEqual(self.orders(token), 200)
            self.sidegate.ask("/payments/1", headers=bearer(token))
        self.sidegate.ask("/orders/7")
        self.sidegate.ask("/payments/1")
        self.sidegate.ask("/payments/1", headers=bearer(self.issuer.token()))
        self.assertEqual(self.sidegate.ask("/reports/1").status, 503)

    def sign_in(self, page, token=TOKEN):
        page.goto(f"{self.origin}/sessions")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()

    def shoot(self, page, name):
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


class Status(Operator):
    def test_the_first_sentence_says_how_it_stands(self):
        page = self.open_page()
        page.goto(f"{self.origin}/status")
        heading = page.get_by_role("heading", level=1)
        self.assertEqual(heading.inner_text(), "Good: everything that is configured works.")
        self.assertTrue(page.title().startswith("good"))

    def test_what_was_refused_and_what_would_be_stands_there_in_words(self):
        self.traffic()
        page = self.open_page()
        page.goto(f"{self.origin}/status")
        observed = page.get_by_role("region", name="Routes that only observe").inner_text()
        self.assertRegex(observed, r"route payments: \d+ of \d+ requests of the last .* would have been refused")
        for part in ("token_missing", "scope_missing", "shop of local", "give them one"):
            self.assertIn(part, observed)
        errors = page.get_by_role("region", name="Last errors").inner_text()
        self.assertIn("upstream away", errors)
        routes = page.get_by_role("region", name="Routes", exact=True).inner_text()
        self.assertIn("token_missing", routes)

    def test_the_keyboard_is_enough(self):
        page = self.open_page(script=True)
        page.goto(f"{self.origin}/status")
        focused = "document.activeElement.innerText"
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate(focused), "To the content")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate(focused), "Sessions")
        self.assertEqual(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "solid")
        page.keyboard.press("Enter")
        page.locator("#token:focus").wait_for()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Sessions", level=1).wait_for()

    def test_a_reload_that_was_refused_stands_at_the_top(self):
        good = self.sidegate.config.read_text()
        self.addCleanup(self.settle, good)
        self.sidegate.config.write_text(good.replace('"audiences"', '"audience"'))
        self.sidegate.signal(1)
        page = self.open_page(scheme="dark")

        def degraded():
            page.goto(f"{self.origin}/status")
            return "Degraded" in page.get_by_role("heading", level=1).inner_text()

        eventually("the page says so", degraded)
        self.assertIn("runs on", page.get_by_role("alert").inner_text())
        self.shoot(page, "degraded")

    def settle(self, good):
        self.sidegate.config.write_text(good)
        self.sidegate.signal(1)

        def state():
            return ask(self.admin_port, "/status", headers={"Host": "localhost"}).json()["health"]["state"]

        eventually("it is good again", lambda: state() == "good")


class Sessions(Operator):
    def test_an_operator_finds_a_session_and_ends_it(self):
        token, other = self.token("alice", "ledger"), self.token("bob", "shop")
        page = self.open_page()
        self.sign_in(page)
        page.get_by_label("User").fill("alice")
        page.get_by_label("Client").fill("ledger")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name="alice").click()
        page.get_by_role("heading", name="Session of alice").wait_for()
        page.get_by_text("End this session").first.click()
        page.get_by_role("button", name="End this session").click()
        page.get_by_role("status").wait_for()
        self.assertEqual(page.get_by_role("status").inner_text(), "The session has ended.")
        self.assertEqual(self.orders(token), 401, "from the next request on")
        self.assertEqual(self.orders(other), 200)

    def test_all_sessions_of_a_user_end_together_after_a_second_look(self):
        tokens = [self.token(HOSTILE, client) for client in ("shop", "ledger")]
        page = self.open_page(script=True)  # so that what a name smuggled in would run
        self.sign_in(page)
        page.get_by_label("User").fill(HOSTILE)
        page.get_by_role("button", name="Show").click()
        self.assertEqual(page.locator("img").count(), 0)
        end = page.get_by_role("button", name="End all sessions of")
        self.assertFalse(end.is_visible(), "not by one slip")
        page.locator("summary").click()
        self.shoot(page, "end-all")
        end.click()
        page.get_by_role("status").wait_for()
        self.assertIn("2 sessions of <img", page.get_by_role("status").inner_text())
        self.assertEqual([self.orders(token) for token in tokens], [401, 401])

    def test_a_wrong_token_is_told_and_the_cookie_is_no_token(self):
        page = self.open_page()
        self.sign_in(page, "wrong-wrong-wrong-wrong")
        alert = page.get_by_role("alert")
        alert.wait_for()
        self.assertEqual(page.get_by_label("Token").get_attribute("aria-describedby"), alert.get_attribute("id"))
        self.assertEqual(page.context.cookies(), [])
        # Chromium tells its console of every status from 400 on.
        self.complaints = [said for said in self.complaints if "status of 401" not in said]
        self.sign_in(page)
        (cookie,) = page.context.cookies(f"{self.origin}/sessions")
        self.assertEqual(
            (cookie["name"], cookie["path"], cookie["httpOnly"], cookie["sameSite"]),
            (f"sidegate-admin-{self.admin_port}", "/sessions", True, "Strict"),
        )
        self.assertNotIn(TOKEN, cookie["value"])
        self.assertEqual(page.context.cookies(f"{self.origin}/status"), [])
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token").wait_for()
        self.assertEqual(page.context.cookies(), [])

    def test_a_form_of_another_origin_ends_nothing(self):
        token = self.token("bob", "ledger")
        page = self.open_page(script=True)
        self.sign_in(page)
        page.get_by_role("heading", name="Sessions", level=1).wait_for()
        evil = page.context.new_page()
        # The same machine on another port: the same site for cookies, and not the same origin.
        form = f'<form method="post" action="{self.origin}/sessions/revoke"><input name="user" value="bob"></form>'
        elsewhere = "http://localhost:1/evil"
        evil.route(elsewhere, lambda route: route.fulfill(content_type="text/html", body=form))
        evil.goto(elsewhere)
        with evil.expect_response("**/sessions/revoke") as answered:
            evil.evaluate("document.forms[0].submit()")
        self.assertEqual(answered.value.status, 403)
        self.assertEqual(self.orders(token), 200)


class Look(Operator):
    WIDTHS = {"small": 320, "phone": 390, "desktop": 1280}

    def pages(self, page):
        """Each page in turn, by name."""
        page.goto(f"{self.origin}/status")
        yield "status"
        page.goto(f"{self.origin}/sessions")
        yield "sign-in"
        self.sign_in(page)
        page.get_by_role("heading", name="Sessions", level=1).wait_for()
        yield "sessions"
        page.locator("a.target").first.click()
        page.get_by_role("heading", name="Session of").wait_for()
        yield "session"

    def test_every_page_fits_and_can_be_read_in_light_and_dark(self):
        self.traffic()
        for user, client in (("bob", "ledger"), (HOSTILE, "shop")):
            self.token(user, client)
        for width in self.WIDTHS:
            for scheme in ("light", "dark"):
                page = self.open_page(self.WIDTHS[width], 844, script=True, scheme=scheme)
                for name in self.pages(page):
                    with self.subTest(page=name, width=width, scheme=scheme):
                        self.shoot(page, f"{name}-{width}-{scheme}")
                        found = page.evaluate(MEASURE)
                        self.assertEqual(found["headings"], 1)
                        self.assertLessEqual(found["scroll"], found["width"], "nothing must be scrolled sideways")
                        self.assertEqual([text for text in found["texts"] if text[1] < 4.5], [], "WCAG 1.4.3")
                        self.assertEqual([target for target in found["targets"] if target[1] < 43.5], [])
                page.context.close()


if __name__ == "__main__":
    harness.main()

"""Chromium, driven by Playwright: the sign-in pages as a person has them."""

import base64
import hashlib
import os
import re
import secrets
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.sync_api import sync_playwright

import harness
from chromium import FLAGS
from harness import PATIENCE, WORK, Peer, Sidegate, ask, background, eventually, free_port, route, upstream

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# Where screenshots go, for whoever wants to look at them.
SHOTS = os.environ.get("SIDEGATE_TEST_SHOTS")
PASSWORD = "correct horse battery"
SECRET = secrets.token_urlsafe(24)


def sha256(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Application:
    """Where users come back to. It sends them on to another origin of its own, as many do."""

    name = "application"

    def __init__(self):
        self.answers = answers = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                if url.path == "/cb":
                    answers.append({name: values[0] for name, values in parse_qs(url.query).items()})
                    self.send_response(302)
                    self.send_header("Location", f"http://localhost:{self.server.server_port}/done")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>back</title><h1>You are back</h1>")

            def log_message(self, *_):
                """Says nothing: the tests read `answers`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a browser that is closed hangs up
        self.redirect_uri = f"http://127.0.0.1:{self.server.server_port}/cb"
        background(self.server.serve_forever)

    def log(self):
        return "\n".join(map(str, self.answers))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def settings(issuer="http://127.0.0.1", **authority):
    def client(id, **changes):
        return {
            "id": id,
            "name": "Household Ledger",
            "public": True,
            "grants": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1/cb"],
            "scopes": ["orders", "payments", "profile"],
            **changes,
        }

    return {
        "authority": {
            "issuer": issuer,
            "audiences": ["api"],
            "scopes": {"orders": "See your orders", "payments": "Prepare payments", "profile": ""},
            "clients": [client("ledger"), client("own", consent="skip", name="Own Application")],
            # A generated secret is never throttled, and a person's would make these tests slow.
            "users": [{"username": "alice", "password_hash": sha256(PASSWORD)}],
            **authority,
            "pages": {"title": "Example Bank", "remember": "1d", **authority.get("pages", {})},
        },
        "store": {"memory": {}},
        "upstreams": [upstream(9, credential={"none": {}})],
        "routes": [route()],
    }


class Person(Peer):
    """A sidegate, an application and a browser."""

    authority = {}

    @classmethod
    def prepare(cls):
        cls.application = cls.start(Application())
        cls.sidegate = cls.start(Sidegate(settings(**cls.authority)))
        cls.origin = f"http://127.0.0.1:{cls.sidegate.port}"
        cls.open_browser()

    @classmethod
    def open_browser(cls):
        playwright = sync_playwright().start()
        cls.programs.callback(playwright.stop)
        cls.chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        cls.programs.callback(cls.chromium.close)

    def setUp(self):
        self.complaints = []
        self.application.answers.clear()

    def tearDown(self):
        self.assertEqual(self.complaints, [], "no page breaks its own Content-Security-Policy")

    def open_page(self, width=1280, height=800, script=False, locale="en-GB", scheme="light", **more):
        context = self.chromium.new_context(
            viewport={"width": width, "height": height},
            java_script_enabled=script,
            locale=locale,
            color_scheme=scheme,
            **more,
        )
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda said: self.complain(said.text))
        return page

    def complain(self, text):
        # The status of a page that tells of an error is no complaint.
        if "Failed to load resource" not in text:
            self.complaints.append(text)

    def link(self, client="ledger", **changes):
        """A link as the application makes it; the verifier stays with it."""
        self.verifier, self.state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": self.application.redirect_uri,
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{self.origin}/oauth20/authorize?{urlencode(asked)}"

    def answer(self):
        """What the application was told."""
        answer = eventually("the application has an answer", lambda: self.application.answers[-1:])[0]
        self.assertEqual(answer["state"], self.state)
        return answer

    def sign_in(self, page, password=PASSWORD):
        page.get_by_label("Username").fill("alice")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()

    def redeem(self, code):
        form = {
            "grant_type": "authorization_code",
            "client_id": "ledger",
            "code": code,
            "code_verifier": self.verifier,
            "redirect_uri": self.application.redirect_uri,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return ask(self.sidegate.port, "/oauth20/token", "POST", headers, urlencode(form))


class Flow(Person):
    def test_a_user_signs_in_agrees_and_the_application_gets_its_tokens(self):
        page = self.open_page()
        page.goto(self.link())
        self.sign_in(page)
        page.get_by_role("heading", name="Allow access?").wait_for()
        self.assertIn("Household Ledger", page.content())
        self.assertEqual(
            page.get_by_role("listitem").all_inner_texts(), ["See your orders", "Prepare payments", "profile"]
        )
        page.get_by_role("button", name="Allow").click()
        page.get_by_role("heading", name="You are back").wait_for()
        tokens = self.redeem(self.answer()["code"])
        self.assertEqual(tokens.status, 200, tokens.text())
        self.assertIn("refresh_token", tokens.json())

    def test_it_is_the_same_with_scripts(self):
        page = self.open_page(script=True)
        page.goto(self.link())
        self.sign_in(page)
        page.get_by_role("button", name="Allow").click()
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())

    def test_a_user_who_refuses_goes_back_without_a_code(self):
        page = self.open_page()
        page.goto(self.link())
        self.sign_in(page)
        page.get_by_role("button", name="Deny").click()
        page.get_by_role("heading", name="You are back").wait_for()
        answer = self.answer()
        self.assertEqual(answer["error"], "access_denied")
        self.assertNotIn("code", answer)

    def test_a_wrong_password_is_told_and_may_be_mended(self):
        page = self.open_page()
        page.goto(self.link("own"))
        self.sign_in(page, "wrong")
        alert = page.get_by_role("alert")
        alert.wait_for()
        self.assertIn("do not match", alert.inner_text())
        field = page.get_by_label("Password")
        self.assertEqual(
            (field.get_attribute("aria-describedby"), field.input_value()), (alert.get_attribute("id"), "")
        )
        self.assertEqual(page.get_by_label("Username").input_value(), "alice")
        field.fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())

    def test_the_keyboard_is_enough(self):
        page = self.open_page()
        page.goto(self.link())
        page.locator("[name=username]:focus").wait_for()  # the first field has the focus by itself, a moment later
        page.keyboard.type("alice")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Allow access?").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.innerText"), "Deny")
        page.keyboard.press("Shift+Tab")
        self.assertEqual(page.evaluate("document.activeElement.innerText"), "Allow")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        self.assertEqual(outline, "solid", "what has the focus shows it")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertIn("code", self.answer())

    def test_tab_goes_through_a_form_from_top_to_bottom(self):
        page = self.open_page()
        page.goto(self.link())
        page.locator("[name=username]:focus").wait_for()
        order = []
        for _ in range(4):
            order.append(page.evaluate("document.activeElement.name || document.activeElement.innerText"))
            page.keyboard.press("Tab")
        self.assertEqual(order, ["username", "password", "remember", "Sign in"])

    def test_who_wants_to_be_remembered_is_not_asked_again(self):
        page = self.open_page()
        page.goto(self.link("own"))
        page.get_by_label("Keep me signed in").check()
        self.sign_in(page)
        page.get_by_role("heading", name="You are back").wait_for()
        page.goto(self.link("own"))
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertEqual(len(self.application.answers), 2)

    def test_two_tabs_do_not_disturb_each_other(self):
        first = self.open_page()
        first.goto(self.link("own"))
        second = first.context.new_page()
        second.goto(self.link("own"))
        for page in (first, second):
            self.sign_in(page)
            page.get_by_role("heading", name="You are back").wait_for()
        self.assertEqual(len(self.application.answers), 2)

    def test_a_form_does_not_work_in_another_browser(self):
        page, other = self.open_page(), self.open_page(script=True)
        page.goto(self.link())
        form = page.locator("input[name=form]").get_attribute("value")
        other.goto(self.link())
        other.evaluate("form => { document.querySelector('input[name=form]').value = form }", form)
        self.sign_in(other)
        other.get_by_role("heading", name="does not belong to this browser").wait_for()
        self.assertEqual(self.application.answers, [])

    def test_no_page_can_be_framed(self):
        page = self.open_page()
        page.route(
            "**/outside",
            lambda route: route.fulfill(
                content_type="text/html", body=f'<iframe src="{self.link().replace("&", "&amp;")}"></iframe>'
            ),
        )
        page.goto(f"{self.origin}/outside")
        self.assertEqual(page.frames[1].locator("input").count(), 0)
        refused = [said for said in self.complaints if "frame" in said.lower()]
        self.assertEqual(refused, self.complaints)
        self.assertTrue(refused)
        self.complaints.clear()


class Throttled(Person):
    authority = {"throttle": {"per_pair": {"requests": 1, "per": "1h", "burst": 2}}}

    def test_too_many_attempts_are_asked_to_wait(self):
        page = self.open_page()
        page.goto(self.link())
        for _ in range(3):
            self.sign_in(page, "wrong")
        alert = page.get_by_text("too many attempts")
        alert.wait_for()
        self.assertEqual(alert.get_attribute("role"), "alert")
        shoot(page, "throttled")


class Expired(Person):
    authority = {"pages": {"form_lifetime": "1s"}}

    def test_a_form_that_lay_open_for_too_long_leads_back_to_its_beginning(self):
        page = self.open_page()
        link = self.link()
        page.goto(link)
        page.wait_for_timeout(1500)
        self.sign_in(page)
        page.get_by_role("heading", name="This page has expired").wait_for()
        shoot(page, "expired")
        page.get_by_role("link", name="Start again").click()
        page.get_by_label("Password").wait_for()
        self.assertEqual(page.url, link)


class Secure(Person):
    """Over TLS, where the cookies have the strictest prefix."""

    @classmethod
    def prepare(cls):
        cls.application = cls.start(Application())
        certificate, key = WORK / "certificate.pem", WORK / "key.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
        port = free_port()
        cls.origin = f"https://127.0.0.1:{port}"
        tls = {"certificate_file": str(certificate), "key_file": str(key)}
        secure = {"name": "secure", "address": f"127.0.0.1:{port}", "tls": tls}
        cls.sidegate = cls.start(Sidegate(settings(cls.origin), more_listeners=[secure]))
        cls.open_browser()

    def test_the_flow_works_with_cookies_of_this_host_alone(self):
        page = self.open_page(ignore_https_errors=True)
        page.goto(self.link())
        page.get_by_label("Keep me signed in").check()
        self.sign_in(page)
        page.get_by_role("button", name="Allow").click()
        page.get_by_role("heading", name="You are back").wait_for()
        self.assertEqual(self.redeem(self.answer()["code"]).status, 200)
        cookies = {cookie["name"]: cookie for cookie in page.context.cookies(self.origin)}
        self.assertEqual(sorted(cookies), ["__Host-sidegate-form", "__Host-sidegate-user"])
        for cookie in cookies.values():
            self.assertEqual((cookie["secure"], cookie["httpOnly"], cookie["sameSite"]), (True, True, "Lax"))


class Look(Person):
    WIDTHS = {"small": 320, "phone": 390, "desktop": 1280}

    def pages(self, page):
        """Each page in turn, by name."""
        page.goto(self.link())
        yield "sign-in"
        page.locator("#username").fill("alice")
        page.locator("#password").fill("wrong")
        page.locator("button").click()
        page.get_by_role("alert").wait_for()
        yield "wrong"
        page.locator("#password").fill(PASSWORD)
        page.locator("button").click()
        page.locator("button[value=allow]").wait_for()
        yield "consent"
        page.goto(f"{self.origin}/oauth20/authorize?client_id=nobody")
        yield "error"

    def test_every_page_fits_and_can_be_read_in_light_and_dark(self):
        for width in self.WIDTHS:
            for scheme in ("light", "dark"):
                for locale in ("en-GB", "pt-BR"):
                    page = self.open_page(self.WIDTHS[width], 844, script=True, locale=locale, scheme=scheme)
                    for name in self.pages(page):
                        with self.subTest(page=name, width=width, scheme=scheme, locale=locale):
                            shoot(page, f"{name}-{width}-{scheme}-{locale[:2]}")
                            self.check_look(page, locale)
                    page.context.close()

    def check_look(self, page, locale):
        found = page.evaluate(MEASURE)
        self.assertEqual(found["lang"], locale[:2])
        self.assertEqual(found["headings"], 1)
        self.assertLessEqual(found["scroll"], found["width"], "nothing must be scrolled sideways")
        self.assertEqual([target for target in found["targets"] if target[1] < 44], [], "targets for a finger")
        self.assertEqual([text for text in found["texts"] if text[1] < 4.5], [], "WCAG 1.4.3")

    def test_helpers_know_every_part_by_name(self):
        page = self.open_page()
        names = self.pages(page)
        self.assertEqual(next(names), "sign-in")
        self.assertEqual(
            tree(page),
            [
                "paragraph",
                'heading "Sign in" [level=1]',
                "paragraph",
                'textbox "Username"',
                'textbox "Password"',
                'checkbox "Keep me signed in on this device"',
                'button "Sign in"',
            ],
        )
        self.assertEqual(page.title(), "Sign in · Example Bank")
        next(names)
        self.assertIn("alert", tree(page))
        next(names)
        consent = tree(page)
        self.assertIn('list "What it asks for:"', consent)
        self.assertEqual(consent[-2:], ['button "Allow"', 'button "Deny"'])
        next(names)
        self.assertIn('heading "This link does not work" [level=1]', tree(page))

    def test_a_page_in_portuguese_is_portuguese_throughout(self):
        page = self.open_page(locale="pt-BR")
        headings = ["Entrar", "Entrar", "Permitir o acesso?", "Este link não funciona"]
        for name, heading in zip(self.pages(page), headings, strict=True):
            with self.subTest(name):
                page.get_by_role("heading", name=heading).wait_for()
                self.assertEqual(page.locator("html").get_attribute("lang"), "pt")


def tree(page):
    """Role and name of what a screen reader finds, from top to bottom."""
    lines = [line.strip().removeprefix("- ") for line in page.locator("body").aria_snapshot().splitlines()]
    roles = [re.match(r'\w+(?: ".*?")?(?: \[[^]]*\])*', line) for line in lines]
    return [role[0] for role in roles if role and role[0] not in ("main", "text", "listitem")]


def shoot(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/pages-{name}.png", full_page=True)


# Contrast as WCAG 2.2 defines it, of every text against the first opaque ground behind it.
MEASURE = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = element => {
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const own = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  return {
    lang: document.documentElement.lang,
    headings: document.querySelectorAll('h1').length,
    scroll: document.documentElement.scrollWidth,
    width: document.documentElement.clientWidth,
    targets: [...document.querySelectorAll('button, a, input[type=text], input[type=password]')]
      .map(element => [element.outerHTML.slice(0, 60), element.getBoundingClientRect().height]),
    texts: [...document.querySelectorAll('main, main *')].filter(own)
      .map(element => [element.innerText.slice(0, 40), contrast(element)]),
  };
}"""


if __name__ == "__main__":
    harness.main()

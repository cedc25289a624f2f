"""A browser without a screen: follows redirects, keeps cookies, fills in the sign-in form and agrees."""

import html.parser
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import ask, background


class Form(html.parser.HTMLParser):
    """The form of a page: where it goes, what it carries, and whether it asks for a password."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.asks_password = None, {}, False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.action = attributes["action"]
        if tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes["name"]] = attributes.get("value", "")
        self.asks_password |= attributes.get("type") == "password"


class Browser:
    """One person's browser; everything that it visits is on loopback."""

    def __init__(self, username, password):
        self.username, self.password = username, password
        self.cookies = {}

    def visit(self, url, form=None):
        where = urllib.parse.urlsplit(url)
        headers = {"Host": where.netloc, "Accept": "text/html"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = urllib.parse.urlencode(form) if form is not None else None
        if body is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"{where.scheme}://{where.netloc}",
            }
        target = where.path + (f"?{where.query}" if where.query else "")
        answer = ask(where.port, target, method="GET" if form is None else "POST", headers=headers, body=body)
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.split(";")[0]
        return answer

    def authorize(self, url):
        """Signs in at `url` and agrees; the address that the application is then called at."""
        answer = self.visit(url)
        for _ in range(3):  # sign in, agree, and one to spare
            if answer.status in (302, 303):
                return answer.headers["Location"]
            assert answer.status == 200, answer.text()
            form = Form(answer.text())
            signs_in = {"username": self.username, "password": self.password}
            filled = signs_in if form.asks_password else {"decision": "allow"}
            answer = self.visit(urllib.parse.urljoin(url, form.action), {**form.fields, **filled})
        raise AssertionError(f"no redirect: {answer.status} {answer.text()}")


class BrowserService:
    """Lets programs in other languages have it: GET /?url=… answers with what `authorize` comes to."""

    name = "browser"

    def __init__(self, username, password):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["url"][0]
                body = Browser(username, password).authorize(url).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Says nothing: the programs tell what went wrong."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        background(self.server.serve_forever)

    def log(self):
        return ""

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

"""As much of a browser as a form needs: cookies, redirects, hidden fields."""

import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html import unescape
from http.cookiejar import CookieJar


@dataclass(frozen=True)
class Answer:
    status: int
    url: str
    html: str

    @property
    def text(self) -> str:
        """What a person reads: the page without its tags."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    @property
    def token(self) -> str:
        field = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.html)
        assert field, f"no form on {self.url}: {self.text}"
        return field[1]

    @property
    def seen(self) -> str:
        """The digest of what the page shows, which its form sends; empty where it has none."""
        field = re.search(r'name="seen" value="([^"]+)"', self.html)
        return field[1] if field else ""


class Browser:
    """One person's window on the site."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> Answer:
        return self._open(path, None)

    def post(self, path: str, token: str, **fields: str) -> Answer:
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        return self._open(path, data)

    def press(self, path: str, button: str, **fields: str) -> Answer:
        """Open a page with a form, look for its button, and press that."""
        page = self.get(path)
        assert button in page.text, page.text
        return self.post(path, page.token, seen=page.seen, **fields)

    def log_in(self, name: str, password: str) -> "Browser":
        token = self.get("/accounts/login/").token
        answer = self.post("/accounts/login/", token, username=name, password=password)
        assert answer.url == f"{self.address}/rollout/", answer.text
        return self

    def _open(self, path: str, data: bytes | None) -> Answer:
        try:
            with self._opener.open(self.address + path, data, timeout=30) as answer:
                return Answer(answer.status, answer.url, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.url, error.read().decode())

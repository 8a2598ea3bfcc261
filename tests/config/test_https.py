"""The site as it runs behind a proxy that speaks TLS: a real web server, with `HTTPS=1`."""

import http.client
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlencode, urlsplit

import pytest
from django.contrib.auth.models import Group, User

from tests.support.processes import web_server
from tests.support.servers import Database

HOST = "rollout.example"
PASSWORD = "a-password-of-ada"
FROM_PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.5"}
OWN = {"Origin": f"https://{HOST}"}
SITE = {
    "SECRET_KEY": "".join(chr(33 + n) for n in range(60)),
    "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
    "HTTPS": "1",
}


@pytest.fixture
def ada(committed_db: Database) -> User:
    user = User.objects.create_user("ada", password=PASSWORD)
    user.groups.add(Group.objects.get(name="lead"))
    return user


@pytest.fixture
def https_site(committed_db: Database, ada: User, tmp_path: Path) -> Iterator[str]:
    with web_server(committed_db.env(**SITE), log=tmp_path / "web.log") as address:
        yield urlsplit(address).netloc


class Browser:
    """Speaks to the web server as the proxy does, and keeps cookies and their attributes."""

    def __init__(self, netloc: str) -> None:
        self.netloc = netloc
        self.cookies: dict[str, str] = {}
        self.attributes: dict[str, str] = {}

    def send(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        given = {"Host": HOST, **FROM_PROXY, **headers}
        given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if form is not None:
            body = urlencode(form)
            given["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if form is None else "POST", path, body, given)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, rest = line.partition("=")
            self.cookies[name], _, self.attributes[name] = rest.partition(";")
        text = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.headers), text

    def token(self, path: str) -> str:
        field = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.send(path)[2])
        assert field is not None
        return field[1]

    def log_in(self, headers: Mapping[str, str]) -> int:
        form = {"username": "ada", "password": PASSWORD}
        form["csrfmiddlewaretoken"] = self.token("/accounts/login/")
        return self.send("/accounts/login/", form, headers)[0]


def test_the_site_behind_tls_is_safe_from_the_first_request_to_the_last(https_site: str) -> None:
    browser = Browser(https_site)
    # Over plain HTTP, and for a proxy that says nothing: nothing but the way to the other scheme.
    for scheme in ("http", "HTTPS, http"):
        status, headers, _ = browser.send("/rollout/?a=b", headers={"X-Forwarded-Proto": scheme})
        assert (status, headers["Location"]) == (301, f"https://{HOST}/rollout/?a=b")
        assert "Set-Cookie" not in headers
    # Whoever probes a process talks to it directly.
    assert browser.send("/healthz", headers={"X-Forwarded-Proto": "http"})[0] == 200

    # A form comes from a page of this site, over TLS, or not at all.
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": f"http://{HOST}"},
        {"Origin": "null"},
        {"Referer": f"http://{HOST}/accounts/login/"},
        {"Referer": "https://evil.example/"},
        {},
    ):
        assert browser.log_in(foreign) == 403, foreign
    assert browser.log_in(OWN) == 302

    # Cookies never leave TLS, and no script reads the session's.
    for name in ("sessionid", "csrftoken"):
        assert "Secure" in browser.attributes[name]
        assert "SameSite=Lax" in browser.attributes[name]
    assert "HttpOnly" in browser.attributes["sessionid"]
    status, headers, text = browser.send("/rollout/")
    assert status == 200
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)

    # The theme's cookie too; and the way back is a path, so that the proxy's scheme stays.
    form = {"theme": "dark", "next": f"https://{HOST}/rollout/log/"}
    form["csrfmiddlewaretoken"] = browser.token("/rollout/")
    status, headers, _ = browser.send("/rollout/theme/", form, OWN)
    assert (status, headers["Location"]) == (302, "/rollout/log/")
    assert "Secure" in browser.attributes["theme"]

    # A host that nobody named is no host of ours, whatever the proxy forwards.
    assert browser.send("/rollout/", headers={"Host": "evil.example"})[0] == 400
    forwarded = browser.send("/rollout/nowhere/", headers={"X-Forwarded-Host": "evil.example"})
    assert "evil.example" not in forwarded[2] + str(forwarded[1])


def test_a_lockout_counts_by_the_address_that_the_proxy_wrote_last(https_site: str) -> None:
    thief, form = Browser(https_site), {"username": "ada", "password": "wrong"}
    form["csrfmiddlewaretoken"] = thief.token("/accounts/login/")
    answers = [
        thief.send(
            "/accounts/login/",
            form,
            # The thief may write what it likes before that.
            {**OWN, "X-Forwarded-For": f"10.0.0.{number}, 198.51.100.7"},
        )[0]
        for number in range(5)
    ]
    assert answers == [200, 200, 200, 200, 429]
    assert Browser(https_site).log_in(OWN) == 302

"""Single sign-on: what docs/sso.md tells to write is written, and people come in by it."""

import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from django.contrib.auth.models import Group, User

from config.home import ROOT
from tests.support.browser import Browser
from tests.support.processes import web_server
from tests.support.servers import Database, manage

GUIDE = (ROOT / "docs" / "sso.md").read_text()
SETTINGS, CODE = "# settings of your own", "# yourproject/sso.py"
NAMED_IN_THE_GUIDE = "https://sso.example/realms/company"
CLIENT, SECRET = "rollout", "a-secret-that-the-client-shares-with-its-provider"


class Provider(ThreadingHTTPServer):
    """As much of an OpenID provider as one login needs; everybody is ``user``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.user: dict[str, object] = {}
        self.asked: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        own = self.server.address
        self.server.asked.append(url.path)
        if url.path == "/.well-known/openid-configuration":
            self._tell(
                {
                    "issuer": own,
                    "authorization_endpoint": f"{own}/authorize",
                    "token_endpoint": f"{own}/token",
                    "userinfo_endpoint": f"{own}/userinfo",
                    "jwks_uri": f"{own}/keys",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }
            )
        elif url.path == "/authorize":
            assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
            back = urllib.parse.urlencode({"code": "one-time", "state": query["state"]})
            self.send_response(302)
            self.send_header("Location", f"{query['redirect_uri']}?{back}")
            self.end_headers()
        else:
            assert self.headers["Authorization"] == "Bearer access"
            self._tell(self.server.user)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = dict(urllib.parse.parse_qsl(sent))
        assert (fields["code"], fields["client_secret"]) == ("one-time", SECRET)
        now = int(time.time())
        times = {"iat": now, "exp": now + 60}
        claims = {"iss": self.server.address, "aud": CLIENT, **times, **self.server.user}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        self._tell({"access_token": "access", "token_type": "Bearer", "id_token": token})

    def _tell(self, answer: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def site_of_the_guide(
    section: str, database: Database, directory: Path, provider: str = ""
) -> Iterator[str]:
    """The site with the settings and the code of a section of the guide."""
    text = GUIDE.split(f"## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    parts = {
        "__init__": "",
        "settings": "import os\nfrom config.settings import *\n"
        + "".join(block for block in blocks if block.startswith(SETTINGS)),
        "sso": "".join(block for block in blocks if block.startswith(CODE)),
        "urls": "from django.urls import include\nfrom config.urls import *\n"
        'urlpatterns.insert(0, path("sso/", include("allauth.urls")))\n',
    }
    project = directory / "yourproject"
    project.mkdir()
    for name, source in parts.items():
        (project / f"{name}.py").write_text(source.replace(NAMED_IN_THE_GUIDE, provider))
    env = {
        "DJANGO_SETTINGS_MODULE": "yourproject.settings",
        "PYTHONPATH": str(directory),
        "OIDC_CLIENT_ID": CLIENT,
        "OIDC_SECRET": SECRET,
    }
    manage("migrate", "--verbosity", "0", url=database.url, **env)
    with web_server(database.env(**env), log=directory / "web.log") as address:
        yield address


def roles_of(name: str) -> set[str]:
    return {group.name for group in User.objects.get(username=name).groups.all()}


def test_a_provider_login_gets_the_roles_of_its_groups(
    committed_db: Database, tmp_path: Path, provider: Provider
) -> None:
    ada: dict[str, object] = {"sub": "4711", "preferred_username": "ada"}
    with site_of_the_guide("OpenID Connect", committed_db, tmp_path, provider.address) as address:
        provider.user = {**ada, "groups": ["db-leads", "bowling"]}
        window = Browser(address)
        page = window.get("/rollout/log/")
        assert (page.status, page.url) == (200, f"{address}/rollout/log/"), page.text
        assert {"/authorize", "/userinfo"} <= set(provider.asked)
        assert roles_of("ada") == {"lead"}
        assert not User.objects.get(username="ada").has_usable_password()
        start = "/rollout/property-classification/production/phases/0/start/"
        assert window.get(start).status == 200
        # Roles follow the provider, with the next login.
        provider.user = {**ada, "groups": ["developers"]}
        again = Browser(address)
        assert again.get("/rollout/").status == 200
        assert roles_of("ada") == {"viewer"}
        assert again.get(start).status == 403
        provider.user = {"sub": "4712", "preferred_username": "eve", "groups": ["bowling"]}
        assert "/rollout/" not in Browser(address).get("/rollout/").url.removeprefix(address)
        assert not User.objects.filter(username="eve").exists()


def test_a_user_named_by_a_proxy_is_logged_in_and_gets_a_role_by_hand(
    committed_db: Database, tmp_path: Path
) -> None:
    def ask(path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.url.removeprefix(address)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.url.removeprefix(address)

    ada = {"X-Forwarded-User": "ada"}
    with site_of_the_guide("A header from a proxy", committed_db, tmp_path) as address:
        assert ask("/rollout/") == (200, "/accounts/login/?next=/rollout/")
        assert ask("/rollout/", **ada) == (403, "/rollout/")
        User.objects.get(username="ada").groups.add(Group.objects.get(name="viewer"))
        assert ask("/rollout/", **ada) == (200, "/rollout/")
        # Another spelling of the header is another header, or none.
        assert ask("/rollout/", X_Forwarded_User="ada")[1].startswith("/accounts/login/")

"""What answers tell browsers, and what is refused before anybody looks at it."""

import io

import pytest
from django.conf import LazySettings
from django.test import Client, RequestFactory

from config.headers import client_address, content_security_policy

ADDRESSES = [
    *("/rollout/", "/rollout/log/", "/rollout/no-such/page/", "/properties/", "/accounts/login/"),
    *("/admin/", "/healthz", "/static/rollout/console.js", "/nowhere"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_has_the_headers(db: None, client: Client, address: str) -> None:
    answer = client.get(address)
    policy = answer["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "geolocation=()" in answer["Permissions-Policy"]


def test_a_provider_of_logins_may_be_where_a_form_leads() -> None:
    assert "form-action 'self' https://sso.example;" in content_security_policy(
        ["https://sso.example"]
    )


def test_a_host_that_is_not_ours_is_refused(db: None, client: Client) -> None:
    assert client.get("/accounts/login/", headers={"Host": "evil.example"}).status_code == 400
    forwarded = client.get("/rollout/", headers={"X-Forwarded-Host": "evil.example"})
    assert "evil" not in forwarded["Location"]


def test_a_body_larger_than_any_form_is_refused_unread(db: None, client: Client) -> None:
    answer = client.post("/accounts/login/", {}, CONTENT_LENGTH=str(13 * 1024 * 1024))
    assert answer.status_code == 413
    assert "limit 12 MB" in answer.content.decode()


def test_a_visitor_cannot_choose_the_address_that_tries_are_counted_by(
    settings: LazySettings,
) -> None:
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "1.2.3.4, 198.51.100.7"}
    )
    assert client_address(request) == "10.0.0.1"
    settings.HTTPS = True
    assert client_address(request) == "198.51.100.7"


FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"


def answer_of(content_type: str) -> tuple[str, bytes]:
    """The status and the body that the site's WSGI application gives a form."""
    from config.wsgi import application

    body, answered = b"--x--", []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/nowhere/",
        "QUERY_STRING": "q=%41",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    parts = application(environ, lambda status, _headers, _error=None: answered.append(status))  # type: ignore[arg-type]
    return answered[0], b"".join(parts)


@pytest.mark.parametrize("kind", [FORM, PARTS, "text/plain", ""])
@pytest.mark.parametrize(
    "charset",
    ["utf-16", "utf-7", "latin-1", "hex", "unicode_escape", "rot13", "undefined", "no-such"],
)
def test_a_request_in_another_encoding_is_refused_before_it_is_read(
    charset: str, kind: str
) -> None:
    status, body = answer_of(f"{kind}; charset={charset}")
    assert status.startswith("415 ")
    assert body == b"This site reads UTF-8 alone. Send the request in that encoding.\n"


def test_a_header_that_names_its_encoding_in_an_unknown_one_is_refused() -> None:
    assert answer_of("text/plain; charset*=no-such''utf-8")[0].startswith("415 ")


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=UTF-8", PARTS, "text/plain", ""])
def test_a_request_in_utf_8_is_read(db: None, kind: str) -> None:
    assert answer_of(kind)[0] == "404 Not Found"

"""What answers tell browsers, and what is refused before anybody looks at it."""

import pytest
from django.conf import LazySettings
from django.test import Client, RequestFactory

from config.headers import client_address, content_security_policy

ADDRESSES = [
    *("/rollout/", "/rollout/log/", "/rollout/no-such/page/", "/properties/", "/accounts/login/"),
    *("/admin/", "/healthz", "/static/rollout/console.js", "/nowhere"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_bears_the_headers(db: None, client: Client, address: str) -> None:
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


def test_what_is_larger_than_any_form_takes_is_refused_unread(db: None, client: Client) -> None:
    answer = client.post("/accounts/login/", {}, CONTENT_LENGTH=str(13 * 1024 * 1024))
    assert answer.status_code == 413
    assert "12 MB is the most" in answer.content.decode()


def test_a_visitor_cannot_choose_the_address_that_tries_are_counted_by(
    settings: LazySettings,
) -> None:
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "1.2.3.4, 198.51.100.7"}
    )
    assert client_address(request) == "10.0.0.1"
    settings.HTTPS = True
    assert client_address(request) == "198.51.100.7"

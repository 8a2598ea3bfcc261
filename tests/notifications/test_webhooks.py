"""A webhook is sent over real HTTP: signed, never redirected, and given up in time."""

import base64
import hashlib
import hmac
import time
from typing import Any

import pytest

from rollout.notifications import webhooks
from rollout.notifications.webhooks import Webhook, post, signature
from tests.support.processes import PATIENCE, free_port
from tests.support.receivers import Behaviour, Receiver, receiver

BODY = b'{"text": "hello"}'


@pytest.fixture
def http(settings: Any) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": {"ALLOW_HTTP": True}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1.0)


def send(to: Receiver, *, signed: bool = True) -> webhooks.Outcome:
    hook = Webhook("chat", to.url, "s3cret" if signed else "")
    return post(hook, id="rollout-7", timestamp=1_700_000_000, body=BODY)


@pytest.mark.usefixtures("http")
class TestPost:
    def test_accepted_request_is_signed_over_id_time_and_body(self) -> None:
        with receiver() as there:
            outcome = send(there)
        assert (outcome.error, outcome.status) == ("", 204)
        got = there.taken[0]
        assert (got.path, got.body) == ("/hooks/T0/very-secret?x=1", BODY)
        assert got.headers["content-type"] == "application/json"
        # By hand, as a receiver would.
        signed = b"%s.%s.%s" % (b"rollout-7", got.headers["webhook-timestamp"].encode(), got.body)
        digest = hmac.new(b"s3cret", signed, hashlib.sha256).digest()
        assert got.headers["webhook-id"] == "rollout-7"
        assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"

    def test_a_post_without_a_secret_has_no_signature(self) -> None:
        with receiver() as there:
            send(there, signed=False)
        assert "webhook-signature" not in there.taken[0].headers

    @pytest.mark.parametrize(
        ("does", "error"),
        [
            ("refuse", "HTTP 500."),
            ("redirect", "HTTP 307: redirects are not followed."),
            ("nonsense", "Connection failed: BadStatusLine."),
            ("hang up", "Connection failed: RemoteDisconnected."),
        ],
    )
    def test_refused_request_says_what_was_answered(self, does: Behaviour, error: str) -> None:
        with receiver(does) as there:
            outcome = send(there)
        assert outcome.error == error
        assert len(there.received) == 1

    @pytest.mark.usefixtures("quick")
    @pytest.mark.parametrize("does", ["hang", "drip"])
    def test_a_receiver_that_hangs_or_drips_is_given_up_when_time_is_up(
        self, does: Behaviour
    ) -> None:
        with receiver(does) as there:
            began = time.monotonic()
            outcome = send(there)
            assert time.monotonic() - began < PATIENCE
        assert outcome.error == "No response within 1 s."

    def test_nobody_there_is_reported_without_the_address(self) -> None:
        hook = Webhook("chat", f"http://127.0.0.1:{free_port()}/very-secret")
        outcome = post(hook, id="1", timestamp=1, body=BODY)
        assert outcome.error == "Connection failed: Connection refused."

    def test_a_server_without_tls_is_refused_where_https_was_requested(self) -> None:
        with receiver() as there:
            hook = Webhook("chat", there.url.replace("http:", "https:"))
            outcome = post(hook, id="1", timestamp=1, body=BODY)
        assert outcome.error.startswith("TLS error")
        assert not there.received


def test_http_is_refused_unless_a_setting_allows_it() -> None:
    with receiver() as there:
        outcome = send(there)
    assert "URL without TLS" in outcome.error
    assert not there.received


@pytest.mark.parametrize(
    "url",
    [
        *("", "chat.example/x", "ftp://chat.example", "https://", "file:///etc/passwd"),
        *("https://me:pw@chat.example/", "https://[::1", "https://chat.example:port/"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    assert Webhook("chat", url).problem(http_allowed=True)


def test_neither_address_nor_secret_is_in_what_may_be_shown() -> None:
    hook = Webhook("chat", "https://chat.example/T0/very-secret", "s3cret")
    assert hook.shown == "https://chat.example/…"
    assert "secret" not in repr(hook)
    assert "s3cret" not in repr(hook)


def test_a_secret_of_standard_webhooks_is_decoded() -> None:
    # The example of the specification.
    assert (
        signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            body=b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )

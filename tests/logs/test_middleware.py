"""Each request has an id, in its answer and in its lines."""

import logging

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from rollout import logs


@pytest.mark.parametrize("given", ["abc-123_x.y", "a" * 128])
def test_a_sane_id_of_a_proxy_is_kept(given: str) -> None:
    assert Client().get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\nb", "<script>", "ä"])
def test_malformed_request_id_is_replaced(given: str) -> None:
    answer = Client().get("/healthz", HTTP_X_REQUEST_ID=given)
    assert len(answer["X-Request-ID"]) == 32
    assert answer["X-Request-ID"] != Client().get("/healthz")["X-Request-ID"]


@pytest.mark.parametrize(
    ("method", "status", "level"),
    [("get", 200, logging.DEBUG), ("post", 302, logging.INFO), ("get", 503, logging.ERROR)],
)
def test_a_request_id_is_on_lines_logged_meanwhile_and_not_after(
    caplog: pytest.LogCaptureFixture, method: str, status: int, level: int
) -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(logs.current())
        return HttpResponse(status=status)

    caplog.set_level(logging.DEBUG, "rollout.request")
    request = getattr(RequestFactory(), method)("/x/", headers={"X-Request-ID": "abc"})
    logs.RequestId(view)(request)
    assert seen == [{"request": "abc"}]
    assert logs.current() == {}
    record = caplog.records[-1]
    assert (record.levelno, record.getMessage()) == (level, f"{method.upper()} /x/ {status}")

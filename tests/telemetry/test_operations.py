"""What is counted of an operation, and under which name."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, reverse
from django.views.generic import RedirectView, TemplateView

from rollout import telemetry
from rollout.models import Measurement
from rollout.modes import current_modes
from rollout.telemetry import leave_out, operation
from rollout.telemetry.recorder import recorder
from tests.support.rollouts import PLAN

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_measured_yet(db: None) -> Iterator[None]:
    recorder.flush()
    Measurement.objects.all().delete()
    yield
    recorder.flush()


def measured() -> dict[str, Measurement]:
    """What was measured since the test began, by operation, whatever the interval."""
    recorder.flush()
    totals: dict[str, Measurement] = {}
    for row in Measurement.objects.all():
        if row.operation in totals:
            totals[row.operation].calls += row.calls
            totals[row.operation].errors += row.errors
        else:
            totals[row.operation] = row
    return totals


def orders(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def in_modes(request: HttpRequest) -> HttpResponse:
    with current_modes(PLAN):
        return HttpResponse()


@leave_out
def aside(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("named/", orders, name="orders"),
    path("nameless/", orders),
    path("in-modes/", in_modes, name="in-modes"),
    path("left-out/", aside, name="aside"),
    path("generic/", TemplateView.as_view(template_name="404.html"), name="about"),
    path("moved/", RedirectView.as_view(url="/named/")),
    path("admin/", admin.site.urls),
    path("console/", include("rollout.console.urls")),
    path("properties/", include("properties.urls")),
    path("", include("rollout.health.urls")),
]


@pytest.mark.urls(__name__)
def test_a_view_without_a_namespace_is_the_applications_and_django_and_the_console_are_not(
    client: Client,
) -> None:
    for address in (
        "named",
        "nameless",
        "left-out",
        "generic",
        "moved",
        "admin",
        "console",
        "missing",
    ):
        client.get(f"/{address}/", follow=False)
    client.get("/healthz")
    assert set(measured()) == {"orders", f"{__name__}.orders", "about"}


def test_a_block_counts_its_calls_queries_and_time_in_the_database() -> None:
    for _ in range(3):
        with operation("search"), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")
            cursor.execute("SELECT 1")
    search = measured()["search"]
    assert (search.calls, search.errors, search.queries) == (3, 0, 6)
    assert search.database_seconds >= 0.03
    assert sum(search.durations.values()) == 3


def test_an_exception_is_an_error_and_is_raised_on() -> None:
    with pytest.raises(ZeroDivisionError), operation("search"):
        raise ZeroDivisionError
    assert (measured()["search"].calls, measured()["search"].errors) == (1, 1)


def test_a_view_that_answers_with_500_has_failed() -> None:
    @operation("detail")
    def view(request: HttpRequest, status: int) -> HttpResponse:
        return HttpResponse(status=status)

    for status in (200, 404, 500, 503):
        view(HttpRequest(), status)
    assert (measured()["detail"].calls, measured()["detail"].errors) == (4, 2)


def test_an_operation_inside_another_is_part_of_it() -> None:
    with operation("outer"), operation("inner"):
        pass
    assert list(measured()) == ["outer"]


def test_the_modes_in_which_it_ran_are_known() -> None:
    with operation("update"), current_modes(PLAN):
        pass
    update = measured()["update"]
    assert (update.plan, update.read_mode, update.write_mode) == (PLAN, "legacy", "legacy")


def test_an_operation_that_asks_for_the_modes_of_two_plans_is_measured_under_each() -> None:
    with operation("update"):
        for plan in (PLAN, "offer-prices", PLAN):
            with current_modes(plan):
                pass
    with operation("update"):
        pass
    recorder.flush()
    calls: Counter[str] = Counter()
    for row in Measurement.objects.all():
        calls[row.plan] += row.calls
    assert calls == {PLAN: 1, "offer-prices": 1, "": 1}


@pytest.mark.urls(__name__)
def test_a_request_is_measured_under_the_plan_whose_modes_its_view_asked_for(
    client: Client,
) -> None:
    client.get("/in-modes/")
    assert measured()["in-modes"].plan == PLAN
    client.get("/named/")
    assert measured()["orders"].plan == ""


def test_a_request_is_measured_under_the_name_that_its_view_gives(
    client: Client, django_user_model: type
) -> None:
    client.force_login(django_user_model.objects.create_user("ada"))  # type: ignore[attr-defined]
    assert client.get(reverse("properties:list")).status_code == 200
    assert client.get(reverse("rollout:overview")).status_code in (200, 403)
    assert list(measured()) == ["search"]


def test_nothing_is_told_of_modes_outside_an_operation() -> None:
    telemetry.using_modes(PLAN, read="new", write="new")
    assert measured() == {}


def test_the_queries_of_a_thread_that_has_no_connection_yet_are_counted() -> None:
    def work() -> None:
        with operation("import"), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert measured()["import"].queries == 1


def test_a_name_that_is_too_long_for_the_journal_is_cut_and_holds_nothing_up() -> None:
    with operation("x" * 300):
        pass
    assert list(measured()) == ["x" * 100]

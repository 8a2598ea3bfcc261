"""Parts that ask again: shared by who may see the same, made once a moment, 304 when known."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.test import Client

from rollout.models import PhaseRun, Rollout
from tests.console import journal
from tests.console.journal import HTMX, PAGE

pytestmark = pytest.mark.usefixtures("shared_parts")


def part(client: Client, page: str = PAGE, **headers: str) -> Any:
    return client.get(page, headers={**HTMX, **headers})


def another(role: str) -> Client:
    user = User.objects.create_user(f"another-{role}")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_a_part_that_the_browser_has_already_is_not_sent_again(
    rollout: Rollout, viewer: Client
) -> None:
    first = part(viewer)
    again = part(viewer, **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert part(viewer, **{"If-None-Match": '"older"'}).content == first.content


def test_an_action_is_seen_at_once(rollout: Rollout, viewer: Client) -> None:
    first = part(viewer)
    journal.noted(rollout, "phase started", message="Here it goes.")
    after = part(viewer, **{"If-None-Match": first["ETag"]})
    assert after.status_code == 200
    assert "Here it goes." in after.content.decode()


def test_a_worker_that_begins_is_seen_at_once(rollout: Rollout, viewer: Client) -> None:
    run = journal.ran(rollout, 2, "queued")
    page = f"{PAGE}phases/2/"
    first = part(viewer, page)
    assert "Queued: " in first.content.decode()
    # No entry of the log says that a worker began.
    PhaseRun.objects.filter(pk=run.pk).update(state="running")
    after = part(viewer, page, **{"If-None-Match": first["ETag"]})
    assert after.status_code == 200
    assert "Queued: " not in after.content.decode()


def test_users_with_the_same_rights_share_one_answer(rollout: Rollout, viewer: Client) -> None:
    made = part(viewer)["Rollout-Made"]
    assert part(another("viewer"))["Rollout-Made"] == made


def test_a_user_with_more_rights_is_shown_more(
    rollout: Rollout, viewer: Client, engineer: Client
) -> None:
    assert 'id="start-audit"' not in part(viewer).content.decode()
    assert 'id="start-audit"' in part(engineer).content.decode()


def test_parts_about_the_reader_are_not_shared(rollout: Rollout, lead: Client) -> None:
    by = User.objects.get(username="lead")
    journal.signed(rollout, "override", actor=by, subject="no drift", reason="It is harmless.")
    to_confirm = "/agree/"
    assert to_confirm not in part(lead).content.decode()
    assert to_confirm in part(another("lead")).content.decode()
    assert to_confirm not in part(lead).content.decode()


def test_nobody_gets_anothers_token_for_forms(rollout: Rollout, engineer: Client) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = engineer.cookies
    assert part(engineer).status_code == 200
    other = Client(enforce_csrf_checks=True)
    other.cookies = another("engineer").cookies
    html = part(other).content.decode()
    token = html.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    taken = other.post(f"{PAGE}snapshots/", {"csrfmiddlewaretoken": token})
    assert taken.status_code == 302
    refused = browser.post(f"{PAGE}snapshots/", {"csrfmiddlewaretoken": token})
    assert refused.status_code == 403


def test_time_that_goes_by_alone_makes_no_new_answer(rollout: Rollout, viewer: Client) -> None:
    journal.noted(rollout)
    first = part(viewer)
    cache.clear()
    again = part(viewer, **{"If-None-Match": first["ETag"]})
    assert again.status_code == 304


def test_each_reads_times_in_their_own_zone(rollout: Rollout, viewer: Client) -> None:
    journal.noted(rollout)
    assert " UTC</time>" in part(viewer).content.decode()
    viewer.cookies["zone"] = "Asia%2FTokyo"
    text = part(viewer).content.decode()
    assert " JST</time>" in text
    assert ' UTC">' in text, "the title keeps UTC"


@pytest.mark.parametrize("zone", ["", "../../etc/passwd", "Nowhere/At_All", "%00", "x" * 5000])
def test_an_unknown_zone_is_the_sites_own(rollout: Rollout, viewer: Client, zone: str) -> None:
    journal.noted(rollout)
    viewer.cookies["zone"] = zone
    assert " UTC</time>" in part(viewer).content.decode()


@pytest.mark.parametrize("page", [PAGE, f"{PAGE}phases/0/", f"{PAGE}audits/"])
def test_a_part_brings_the_header_of_the_same_moment_along(
    rollout: Rollout, viewer: Client, page: str
) -> None:
    whole = journal.text_of(viewer, page)
    header = re.search(r'<div class="rollout-now"[^>]*>', whole)
    assert header is not None
    assert "data-live" not in header[0], "the page's part asks for both"
    assert "hx-swap-oob" not in header[0]
    run = journal.ran(rollout, 0, "running")
    html = part(viewer, page).content.decode()
    assert html.index('id="live"') < html.index('id="rollout-now"')
    beside = re.search(r'<div class="rollout-now"[^>]*>', html)
    assert beside is not None
    assert 'hx-swap-oob="morph"' in beside[0]
    assert f'data-state="{run.pk} running"' in beside[0]


def test_a_header_asks_by_itself_where_its_page_asks_less_often(
    rollout: Rollout, viewer: Client
) -> None:
    journal.ran(rollout, 0, "running")
    for page in (f"{PAGE}jobs/", f"{PAGE}monitoring/"):
        header = re.search(r'<div class="rollout-now"[^>]*>', journal.text_of(viewer, page))
        assert header is not None
        assert 'data-live="5"' in header[0]
    own = part(viewer, f"{PAGE}header/?name=jobs&page={PAGE}jobs/").content.decode()
    assert 'data-live="5"' in own
    assert "hx-swap-oob" not in own

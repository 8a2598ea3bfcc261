import pytest
from django.db import connection
from django.test import Client

from rollout.models import Rollout
from tests.console import journal
from tests.console.journal import noted, text_of

LOG = "/rollout/log/"


def test_the_log_shows_who_did_what_with_its_data(rollout: Rollout, viewer: Client) -> None:
    noted(rollout, "phase started", phase=2, message="<i>Started</i>", data={"rows": 7})
    text = text_of(viewer, LOG)
    assert "&lt;i&gt;Started&lt;/i&gt;" in text
    assert "&quot;rows&quot;: 7" in text
    assert "production, phase 2" in text


@pytest.mark.parametrize(
    "query",
    [
        {"phase": "2"},
        {"phase": "2", "plan": journal.PLAN, "environment": "production"},
        {"actor": "ADA"},
        {"event": "pause"},
        {"event": "Pause req"},
        {"text": "100%_\\"},
    ],
)
def test_filters_narrow_the_log(rollout: Rollout, viewer: Client, query: dict[str, str]) -> None:
    noted(rollout, "pause asked for", phase=2, actor="ada", message="wanted: 100%_\\ sure")
    noted(rollout, "phase started", phase=1, actor="grace", message="unwanted")
    noted(None, "started", actor="grace", message="unwanted too")
    text = text_of(viewer, LOG, **query)
    assert "wanted: 100%_\\ sure" in text
    assert "unwanted" not in text


def test_pages_of_the_log_keep_the_filters(rollout: Rollout, viewer: Client) -> None:
    for number in range(60):
        noted(rollout, "step done", actor="ada", message=f"number {number}.")
    first = viewer.get(LOG, {"actor": "ada"})
    after = first.context["entries"].next
    assert f'href="?actor=ada&amp;after={after}"' in first.content.decode()
    second = text_of(viewer, LOG, actor="ada", after=str(after))
    assert "number 9." in second
    assert "number 10." not in second
    assert 'href="?actor=ada"' in second


def test_an_empty_log_and_an_empty_search_say_what_to_do(viewer: Client) -> None:
    assert "No activity yet." in text_of(viewer, LOG)
    assert "No entry matches." in text_of(viewer, LOG, actor="nobody")


def test_the_oldest_come_first_when_they_are_asked_for(rollout: Rollout, viewer: Client) -> None:
    for number in range(60):
        journal.noted(rollout, message=f"Entry {number:02}.")
    address = "/rollout/log/?order=oldest"
    text = text_of(viewer, address)
    assert text.index("Entry 00.") < text.index("Entry 49.")
    assert "Entry 50." not in text
    assert ">Newest first</a>" in text
    following = text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "Entry 50." in text_of(viewer, f"/rollout/log/{following}")
    assert ">Oldest first</a>" in text_of(viewer, "/rollout/log/")


def test_an_entry_has_a_page_of_its_own_with_its_data(rollout: Rollout, viewer: Client) -> None:
    entry = noted(rollout, "phase started", phase=2, message="<i>On</i>", data={"rows": 7})
    for address in (f"{journal.PAGE}activity/", LOG):
        assert f'href="{address}{entry.pk}/"' in text_of(viewer, address)
        text = text_of(viewer, f"{address}{entry.pk}/")
        assert "&lt;i&gt;On&lt;/i&gt;" in text
        assert "&quot;rows&quot;: 7" in text
        assert "Matches the content" in text
        assert f'href="{address}?after={entry.pk + 1}"' in text


def test_the_page_of_an_entry_that_was_changed_says_so(rollout: Rollout, viewer: Client) -> None:
    entry = noted(rollout)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rollout_logentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE rollout_logentry SET actor = 'eve' WHERE id = %s", [entry.pk])
    assert "Content was changed" in text_of(viewer, f"{LOG}{entry.pk}/")


def test_an_entry_of_another_rollout_is_on_no_page_of_this_one(
    rollout: Rollout, viewer: Client
) -> None:
    other = noted(Rollout.objects.create(plan=rollout.plan, environment="qa"))
    assert viewer.get(f"{journal.PAGE}activity/{other.pk}/").status_code == 404
    assert viewer.get(f"{LOG}{other.pk}/").status_code == 200

"""Filters of every list: they narrow it, stay in its address, and match nothing aloud."""

import pytest
from django.test import Client

from rollout.models import (
    AuditReport,
    BackfillJob,
    Delivery,
    Rehearsal,
    Rollout,
    Snapshot,
)
from tests.console.journal import text_of
from tests.console.lists.made_rows import (
    AUDITS,
    JOBS,
    LOG,
    NOTIFICATIONS,
    REHEARSALS,
    SNAPSHOTS,
    an_audit,
    make_of,
    shown_in,
)

UNKNOWN = [
    (AUDITS, {"mode": "no-such"}),
    (AUDITS, {"status": "x"}),
    (SNAPSHOTS, {"state": "no-such"}),
    (REHEARSALS, {"state": "no-such"}),
    (LOG, {"phase": "9"}),
    (LOG, {"plan": "no-such"}),
    (NOTIFICATIONS, {"state": "no-such"}),
    (NOTIFICATIONS, {"channel": "no-such"}),
    (JOBS, {"kind": "no-such"}),
]

MATCHING_NOTHING = [
    (AUDITS, {"mode": "shadow"}),
    (SNAPSHOTS, {"state": "failed"}),
    (REHEARSALS, {"state": "failed"}),
    (LOG, {"actor": "nobody"}),
    (NOTIFICATIONS, {"channel": "email"}),
    (NOTIFICATIONS, {"state": "not-taken"}),
    (JOBS, {"table": "nowhere"}),
    (JOBS, {"phase": "4"}),
]


@pytest.mark.parametrize(
    ("address", "query", "fields"),
    [
        (AUDITS, {"mode": "sampled"}, {"mode": "sampled"}),
        (AUDITS, {"status": "inconclusive"}, {"status": "inconclusive"}),
        (SNAPSHOTS, {"state": "failed"}, {"state": "failed"}),
        (REHEARSALS, {"state": "failed"}, {"state": "failed"}),
        (NOTIFICATIONS, {"state": "failed"}, {"state": "failed"}),
        (NOTIFICATIONS, {"channel": "email"}, {"channel": "email"}),
        (NOTIFICATIONS, {"recipient": "ADA"}, {"recipient": "ada"}),
        (NOTIFICATIONS, {"state": "not-taken"}, {"attempts": 2}),
        (JOBS, {"kind": "repair"}, {"kind": "repair"}),
        (JOBS, {"table": "IMAGES"}, {"table": "images"}),
        (JOBS, {"ended": "no"}, {"finished_at": None}),
    ],
)
def test_filters_in_the_address_narrow_a_list(
    rollout: Rollout, viewer: Client, address: str, query: dict[str, str], fields: dict[str, object]
) -> None:
    others = [make_of(address)(rollout, 0) for _ in range(2)]
    name = make_of(address)(rollout, 0)
    model = {
        AUDITS: AuditReport,
        SNAPSHOTS: Snapshot,
        REHEARSALS: Rehearsal,
        NOTIFICATIONS: Delivery,
        JOBS: BackfillJob,
    }[address]
    newest = model._default_manager.order_by("pk").last()
    assert newest is not None
    model._default_manager.filter(pk=newest.pk).update(**fields)
    text = text_of(viewer, address, **query)
    name = name.replace("Backfill", "Repair") if "repair" in fields.values() else name
    assert shown_in([text], [name, *others]) == [name]


def test_filters_stay_when_the_order_changes_and_the_order_when_the_filters_do(
    rollout: Rollout, viewer: Client
) -> None:
    for number in range(3):
        an_audit(rollout, number)
    text = text_of(viewer, AUDITS, status="mismatched", order="most-mismatches")
    assert 'href="?status=mismatched&amp;order=fewest-mismatches"' in text
    assert '<input type="hidden" name="order" value="most-mismatches">' in text
    assert '<option value="mismatched" selected>' in text


@pytest.mark.parametrize(("address", "query"), MATCHING_NOTHING)
def test_a_filter_that_matches_nothing_says_so_and_how_to_see_all(
    rollout: Rollout, viewer: Client, address: str, query: dict[str, str]
) -> None:
    make_of(address)(rollout, 0)
    text = text_of(viewer, address, **query)
    assert " matches. <a href=" in text
    assert f'href="{address}' in text.split(" matches. ")[1].split(">")[0]


@pytest.mark.parametrize(("address", "query"), UNKNOWN)
def test_an_unknown_filter_is_reported_and_the_list_is_shown(
    rollout: Rollout, viewer: Client, address: str, query: dict[str, str]
) -> None:
    name = make_of(address)(rollout, 0)
    text = text_of(viewer, address, **query)
    assert name in text
    assert 'class="errorlist"' in text
    assert "Invalid filters were ignored." in text

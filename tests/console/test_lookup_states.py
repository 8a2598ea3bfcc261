"""The list of a plan's lookups: how far each review is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.test import Client

from tests.console.journal import fragment_of, reviewed, text_of
from tests.console.views.mapping_pages import (
    LIST,
    TYPES,
    take_long_to_count,
)

if TYPE_CHECKING:
    from rollout.models import Rollout


def test_every_lookup_of_the_plan_is_listed(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, LIST)
    for shown in (
        "properties.type",
        "property_statuses",
        "Not in use yet (from phase 2",
        "Values that rows have now",
        "never",
    ):
        assert shown in text
    reviewed(rollout)
    assert "grace" in fragment_of(viewer, LIST)


@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize("page", [LIST, TYPES])
def test_a_page_connects_to_the_database_once_however_many_lookups_there_are(
    filled: Rollout, reviewer: Client, page: str
) -> None:
    text_of(reviewer, page)  # What the header counts is kept.
    connected, connect = [], psycopg.connect

    def counting(**parameters: Any) -> psycopg.Connection[Any]:
        connected.append(parameters["dbname"])
        return connect(**parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg, "connect", counting)
        text_of(reviewer, page)
    assert len(connected) == 1


def test_decisions_without_a_mapping_are_said_to_be_kept_and_counted_as_on_the_page(
    properties: Rollout, viewer: Client
) -> None:
    from rollout import runner
    from rollout.engine.mapping import Decision
    from rollout.plan import plans
    from tests.support import rollouts
    from tests.support.rollouts import ADA

    assert "kept for phase 2" not in text_of(viewer, LIST)
    lookup = plans.get(properties.plan).lookups[0]
    decisions = {"loft": Decision("Loft"), "villa": Decision("Villa")}
    runner.review_mapping(properties, lookup, decisions, actor=ADA)
    # One of a value that no row has any more, as after a rollback of phase 2: it counts nowhere.
    with rollouts.target() as application:
        application.execute("UPDATE properties SET type = 'Villa' WHERE type ILIKE '%loft%'")
    listed, page = text_of(viewer, LIST), text_of(viewer, TYPES)
    counts = re.search(r'<dd class="number">1 of (\d+), kept for phase 2</dd>', listed)
    assert counts is not None
    assert f'<dd class="number">1 of {counts[1]} ' in page
    still_open = int(counts[1]) - 1
    assert f"Review {still_open} open</a>" in listed
    assert f">Show {still_open} open</a>" in page


def test_the_list_waits_no_longer_than_a_moment_for_values_to_be_counted(
    properties: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_long_to_count(monkeypatch)
    listed = text_of(viewer, LIST)
    assert listed.count("too many rows to count here") == 2

"""The gate about the review of the mapping, on a filled database."""

import re
from datetime import timedelta

from django.test import Client

from rollout import gates, runner
from rollout.engine import mapping
from rollout.engine.mapping import Decision
from rollout.gates.registry import GateStatus
from rollout.journal.environments import target_of
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.gates import MappingReviewed
from rollout.queries.mapping_reviews import review_now
from tests.console import journal
from tests.support import rollouts
from tests.support.rollouts import ADA

DAY = timedelta(days=1)


def answer(rollout: Rollout, gate: MappingReviewed | None = None) -> GateStatus:
    gates.invalidate()
    return gates.check_gate(gate or MappingReviewed(), gates.Evidence(rollout, 3))


def write_type(text: str) -> None:
    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = %s WHERE id = (SELECT min(id::text)::uuid"
            " FROM properties)",
            [text],
        )


def age(rollout: Rollout, time: timedelta) -> None:
    """Let the mapping be older by some time."""
    lookup = plans.get(rollout.plan).lookups[0]
    with rollouts.target() as target:
        target.execute(
            f'UPDATE rollout."{lookup.mapping_name(rollout.plan)}" SET at = at - %s'.encode(),
            [time],
        )


def test_the_gate_is_pending_until_each_value_is_decided_on_and_says_how_many_are(
    filled: Rollout,
) -> None:
    lookup = plans.get(filled.plan).lookups[0]
    before = answer(filled)
    assert (before.status, before.action, before.progress) == ("pending", "review_mapping", 0)
    assert before.message.startswith("0 of ")
    runner.review_mapping(
        filled, lookup, {"apt": Decision("Apartment"), "loft": Decision("Loft")}, actor=ADA
    )
    partly = answer(filled)
    assert partly.message.startswith("2 of ")
    assert partly.progress is not None
    assert 0 < partly.progress < 1
    rollouts.review_mapping(filled)
    after = answer(filled)
    assert after.status == "pass"
    assert " values reviewed, last at " in after.message


def test_a_phase_does_not_start_before_its_mapping_is_reviewed(filled: Rollout) -> None:
    refusals = [
        status.message
        for status in gates.check_gates(gates.Evidence(filled, 3))
        if status.name == "mapping reviewed" and not status.lets_through
    ]
    assert len(refusals) == 1


def test_a_value_that_comes_after_the_review_must_be_reviewed_once_it_is_old_enough(
    filled: Rollout,
) -> None:
    rollouts.review_mapping(filled)
    write_type("Moon base 1")
    message = answer(filled).message
    assert " values reviewed; 1 open: confirm or map them." in message
    patient = MappingReviewed(grace=DAY)
    waits = answer(filled, patient)
    assert waits.status == "pass"
    assert "; 1 open: 1 new may wait, younger than 1 d." in waits.message
    age(filled, DAY)
    assert answer(filled, patient).status == "pending"
    rollouts.review_mapping(filled)
    assert answer(filled, patient).status == "pass"


def test_the_values_reviewed_due_and_too_new_add_up_to_all(filled: Rollout) -> None:
    write_type("Moon base 1")
    message = answer(filled, MappingReviewed(grace=DAY)).message
    numbers = [int(number) for number in re.findall(r"\d+", message)]
    reviewed, values, still_open, due, recent = numbers[:5]
    assert (reviewed, recent) == (0, 1)
    assert still_open == due + recent
    assert values == reviewed + still_open
    assert message.endswith(f"{due} to confirm or map, 1 new may wait, younger than 1 d.")


def test_another_spelling_of_a_reviewed_value_asks_for_no_review(filled: Rollout) -> None:
    rollouts.review_mapping(filled)
    write_type("   vILLA ")
    assert answer(filled).status == "pass"


def test_values_that_phase_2_mapped_have_no_grace(filled: Rollout) -> None:
    assert answer(filled, MappingReviewed(grace=DAY)).status == "pending"


def test_before_phase_2_there_is_nothing_to_review(rollout: Rollout) -> None:
    status = answer(rollout)
    assert (status.status, status.action) == ("pending", "start_phase")
    assert status.message == "Phase 2 has not mapped the values. Start it first."


def test_the_gate_the_page_and_an_audit_count_alike(filled: Rollout) -> None:
    lookup = plans.get(filled.plan).lookups[0]
    runner.review_mapping(
        filled, lookup, {"apt": Decision("Apartment"), "loft": Decision("Loft")}, actor=ADA
    )
    write_type("Moon base 1")
    review = review_now(filled, lookup)
    with target_of(filled.environment).connect() as connection:
        counts = mapping.review_counts_of(connection, plans.get(filled.plan), lookup)
    assert counts is not None
    assert (counts.reviewed, counts.values) == (review.reviewed, review.reviewable)
    assert (counts.reviewed, counts.open) == (2, len(review.open))
    assert counts.new == sum(value.is_new for value in review.values) == 1


def test_the_tab_the_list_the_page_and_the_gate_count_the_same_open_values(
    filled: Rollout,
) -> None:
    write_type("Moon base 1")
    runner.review_mapping(
        filled, plans.get(filled.plan).lookups[0], {"apt": Decision("Apartment")}, actor=ADA
    )
    lead: Client = journal.browser_of("lead")
    listed = journal.text_of(lead, f"{journal.PAGE}mappings/")
    of_lookups = [int(n) for n in re.findall(r"Review (\d+) open</a>", listed)]
    badge = re.search(r'(\d+)<span class="visually-hidden"> open values to review', listed)
    assert badge is not None
    assert int(badge[1]) == sum(of_lookups)
    assert f"; {badge[1]} open: " in answer(filled).message
    for lookup, number in zip(plans.get(filled.plan).lookups, of_lookups, strict=True):
        page = journal.text_of(
            lead, f"{journal.PAGE}mappings/{lookup.table.label}/{lookup.legacy}/"
        )
        assert f">Show {number} open</a>" in page


def test_the_button_beside_the_gate_leads_through_every_open_value_and_back(
    filled: Rollout,
) -> None:
    lead: Client = journal.browser_of("lead")
    page = journal.text_of(lead, journal.PAGE)
    link = f"{journal.PAGE}mappings/?show=open"
    assert f'href="{link}">Review mapping</a>' in page
    for column in ("type", "status"):
        response = lead.get(link)
        values = f"{journal.PAGE}mappings/properties/{column}/"
        assert response["Location"] == f"{values}?show=open"
        shown = journal.text_of(lead, response["Location"])
        marks = shown.partition('name="shown" value="')[2].partition('"')[0]
        response = lead.post(f"{values}preview/?show=open", {"bulk": "all", "shown": marks})
        following = f"{journal.PAGE}mappings/properties/status/?show=open"
        assert response["Location"] == (following if column == "type" else journal.PAGE)
        says = "Continue with properties.status: " if column == "type" else "Every value of every"
        assert says in journal.text_of(lead, response["Location"])
    assert answer(filled).status == "pass"
    assert journal.text_of(lead, link), "without open values, the list of lookups"

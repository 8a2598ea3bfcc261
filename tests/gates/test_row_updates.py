"""Rows that have yet to follow a review: gates, inbox and the mapping's page name the same ones."""

import re

import pytest

from rollout import gates, runner
from rollout.engine.mapping import Decision
from rollout.models import AuditReport, MappingChange, Rollout, RunState
from rollout.plan import plans
from rollout.plan.gates import AuditClean
from rollout.plan.translations import Lookup
from tests.console.journal import browser_of, text_of
from tests.console.views.mapping_pages import TYPES
from tests.support import rollouts
from tests.support.rollouts import ADA


class Readers:
    """A gate, the inbox and the mapping's page, as an engineer reads them."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.engineer = browser_of("engineer")

    def agree_on(self, *changes: MappingChange) -> None:
        """Each of them leads to the update of these reviews, the newest first."""
        pages = [text_of(self.engineer, page) for page in (TYPES, "/rollout/inbox/")]
        offered = [
            re.findall(r'mapping-changes/(\d+)/correct/">(Update [\d,]+ rows?)\b', page)
            for page in pages
        ]
        expected = [(str(change.pk), change.to_update) for change in changes]
        assert offered == [expected, expected[::-1]]
        gate = gates.check_gate(AuditClean(), gates.Evidence(self.rollout, 3))
        first = re.findall(r"Update [\d,]+ rows? first", gate.message)
        assert first == [f"{change.to_update} first" for change in changes[:1]], gate.message


def review(rollout: Rollout, text: str, decision: Decision) -> MappingChange:
    lookup = plans.get(rollouts.PLAN).translations[0]
    assert isinstance(lookup, Lookup)
    return runner.review_mapping(rollout, lookup, {text: decision}, actor=ADA)


def update(change: MappingChange) -> None:
    rollouts.work_off(runner.correct(change, actor=ADA))


def test_a_text_decided_again_or_taken_back_has_its_newest_review_followed(
    filled: Rollout,
) -> None:
    readers = Readers(filled)
    readers.agree_on()
    readers.agree_on(review(filled, "apt", Decision("Apartment")))
    again = review(filled, "apt", Decision("House"))
    readers.agree_on(again)
    other = review(filled, "Condominium", Decision("Condo"))
    readers.agree_on(other, again)
    taken_back = review(filled, "apt", Decision(by_default=True))
    readers.agree_on(taken_back, other)
    update(other)
    assert AuditReport.objects.latest("pk").status == "clean"
    readers.agree_on()


def test_an_update_of_one_review_leaves_the_others_to_the_audit_that_ends_it(
    filled: Rollout,
) -> None:
    readers = Readers(filled)
    first = review(filled, "apt", Decision("Apartment"))
    update(review(filled, "Condominium", Decision("Condo")))
    report = AuditReport.objects.latest("pk")
    assert (report.status, report.mismatched) == ("mismatched", first.rows_affected)
    readers.agree_on()
    AuditReport.objects.filter(pk=report.pk).update(status="inconclusive")
    change = next(iter(gates.Evidence(filled, 3).facts.reviews_to_follow))
    assert change == first, "no audit says which rows are wrong"


def test_a_rollback_of_phase_2_and_its_next_run_leave_no_row_to_update(filled: Rollout) -> None:
    readers = Readers(filled)
    readers.agree_on(review(filled, "apt", Decision("Apartment")))
    rollouts.carry_back(filled, 2)
    readers.agree_on()
    rollouts.carry_out(filled, 2)
    readers.agree_on()


@pytest.mark.parametrize("is_updated", [True, False], ids=["updated", "not-updated"])
def test_a_phase_2_that_is_retried_leaves_rows_to_the_audit_in_it(
    expanded: Rollout, is_updated: bool
) -> None:
    readers = Readers(expanded)
    too_long = "A very " + "long " * 50 + "type"
    rollouts.execute(
        f"UPDATE properties SET type = '{too_long}' WHERE id IN"
        " (SELECT id FROM properties ORDER BY id LIMIT 2)"
    )
    run = rollouts.start(expanded, 2)
    rollouts.work_off(run, RunState.FAILED)
    readers.agree_on()
    change = review(expanded, too_long, Decision("House"))
    assert change.to_update == "Update 2 rows"
    readers.agree_on(change)
    if is_updated:
        update(change)
        readers.agree_on()
    runner.retry(expanded, actor=ADA)
    rollouts.work_off(run, RunState.DONE if is_updated else RunState.FAILED)
    readers.agree_on()

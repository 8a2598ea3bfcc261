"""What the shell says of an audit, as its pages do."""

import io
import re

import pytest
from django.core.management import call_command

from rollout import runner
from rollout.engine.mapping import Decision
from rollout.models import AuditReport, AuditStatus, LogEntry, Rollout
from rollout.plan import plans
from rollout.plan.names import in_target
from rollout.queries import text_reports
from rollout.runner import audits
from tests.console.journal import PAGE, browser_of, text_of
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN


def test_clean_is_reported_with_its_mapping_and_how_much_of_it_people_reviewed(
    filled: Rollout,
) -> None:
    page, phase_3 = "/rollout/audits/{}/", f"{PAGE}phases/3/"
    viewer = browser_of("viewer")
    of_type = next(lookup for lookup in plans.get(PLAN).lookups if lookup.legacy == "type")

    def told_everywhere(what: str) -> None:
        report = audits.make_now(filled, actor_name="ada", source="shell")
        assert report.status == AuditStatus.CLEAN
        entry = LogEntry.objects.filter(event="audit done").latest("pk")
        assert f"with mapping {report.mapping_digest}; {what} at its start" in entry.message
        sentence = f"Compared with mapping {report.mapping_digest}; {what} at its start"
        # Its own page, the lists of audits, the gate, a shell and its JSON.
        assert sentence in text_of(viewer, page.format(report.pk))
        for place in (PAGE, f"{PAGE}audits/"):
            assert f"{what}</span>" in text_of(viewer, place)
        assert sentence in text_of(viewer, phase_3)
        data = text_reports.of_audit(report)
        assert data["mapping"] == report.mapping_digest
        assert data["mapping_values"] == report.mapping_values

    mappings = [
        in_target(lookup.mapping_name(PLAN)).as_string() for lookup in plans.get(PLAN).lookups
    ]
    values = sum(
        rollouts.ask(f"SELECT count(DISTINCT normal) FROM {name} WHERE normal <> ''")
        for name in mappings
    )
    assert values > 10
    told_everywhere(f"0 of {values} values reviewed")
    # As it is by the plan's rule already: nothing changes but that somebody looked.
    runner.review_mapping(filled, of_type, {"house": Decision("House")}, actor=ADA)
    since = "at its start. More has been reviewed since."
    assert since in text_of(viewer, page.format(AuditReport.objects.latest("pk").pk))
    told_everywhere(f"1 of {values} values reviewed")


def test_a_shell_tells_by_which_mapping_it_compared(filled: Rollout) -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("rollout", "audit", PLAN, stdout=out)
    assert re.search(
        r"^Compared with mapping \w{12}; 0 of \d+ values reviewed at its start\.$",
        out.getvalue(),
        re.MULTILINE,
    )

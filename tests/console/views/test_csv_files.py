"""A lead uploads a CSV file for a step: it is kept or refused, and the phase works on its rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from rollout import plan as r
from rollout import runner
from rollout.engine.target import Connection
from rollout.models import BackfillJob, LogEntry, Rollout, RunState
from rollout.plan import plans
from rollout.queries import csv_uploads
from tests.console.journal import browser_of, text_of
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN

PAGE = f"/rollout/{PLAN}/production/phases/2/"
UPLOAD, REMOVE = f"{PAGE}csv/titles/upload/", f"{PAGE}csv/titles/remove/"
RIGHT = b"title\nSunny\nQuiet\n"


def set_titles(rows: Sequence[Mapping[str, Any]], connection: Connection) -> list[Exception | None]:
    for row in rows:
        connection.execute(
            "UPDATE properties SET title = %s WHERE id = (SELECT id FROM properties"
            " WHERE title NOT LIKE '%%!' ORDER BY id LIMIT 1)",
            [f"{row['title']}!"],
        )
    return [ValueError("Loud.") if row["title"] == "Loud" else None for row in rows]


TITLES = r.RunCsvTask(
    id="titles",
    description="Set titles",
    columns=("title",),
    function="tests.console.views.test_csv_files.set_titles",
)


@pytest.fixture
def waiting(expanded: Rollout, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """The rollout before a phase 2 that does nothing but work on a file."""
    plan = plans.get(PLAN)
    phases = list(plan.phases)
    phases[2] = replace(phases[2], steps=(TITLES,), gates=())
    changed = replace(plan, phases=tuple(phases))  # type: ignore[arg-type]
    monkeypatch.setattr(plans, "_plans", [changed])
    return expanded


def send(browser: Client, data: bytes, name: str = "titles.csv") -> HttpResponse:
    response = browser.post(UPLOAD, {"file": SimpleUploadedFile(name, data)}, follow=True)
    assert isinstance(response, HttpResponse)
    return response


def test_a_file_is_uploaded_by_a_lead_worked_on_once_and_removed(waiting: Rollout) -> None:
    lead, engineer = browser_of("lead"), browser_of("engineer")
    assert "No file is uploaded. The phase does not start without one." in text_of(lead, PAGE)
    assert "Set titles" in text_of(lead, f"{PAGE}start/")
    assert "CSV file is missing" in text_of(lead, f"{PAGE}preflight/")
    with pytest.raises(runner.Refused, match="CSV file is missing: the one of step 'titles'"):
        runner.start(waiting, 2, actor=ADA)
    assert engineer.post(UPLOAD, {"file": SimpleUploadedFile("t.csv", RIGHT)}).status_code == 403
    assert "Upload file" not in text_of(engineer, PAGE)
    digest = hashlib.sha256(RIGHT).hexdigest()
    page = send(lead, RIGHT).content.decode()
    assert f"Uploaded titles.csv: 2 rows, SHA-256 {digest[:12]}…" in page
    assert "2 rows, 2 not done" in page
    assert digest in page
    entry = LogEntry.objects.get(event="csv uploaded")
    assert (entry.data["sha256"], entry.data["rows"], entry.phase) == (digest, 2, 2)
    runner.start(waiting, 2, actor=ADA)
    assert "is queued" in send(lead, RIGHT).content.decode()
    rollouts.work()
    job = BackfillJob.objects.get()
    assert job.step_run.run.state == RunState.DONE
    assert (job.kind, job.scanned, job.updated) == ("task", 2, 2)
    assert rollouts.ask("SELECT count(*) FROM properties WHERE title LIKE '%%!'") == 2
    assert rollouts.ask("SELECT count(*) FROM pg_tables WHERE tablename LIKE '%%csv'") == 0
    assert "No file is uploaded" in text_of(lead, PAGE)
    assert f"{job.table}" in text_of(lead, f"/rollout/jobs/{job.pk}/")
    rollouts.carry_back(waiting, 2)
    assert rollouts.ask("SELECT count(*) FROM properties WHERE title LIKE '%%!'") == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The header lacks title"),
        (b"title,<script>\na,b\n", "which the plan does not declare"),
        (b"title\n\xff\n", "Not UTF-8 text"),
        (b"title\na,b\n", "2 cells, but the header has 1"),
        (b"title\n", "has no row"),
    ],
)
def test_a_file_that_is_refused_changes_nothing(waiting: Rollout, data: bytes, reason: str) -> None:
    lead = browser_of("lead")
    send(lead, RIGHT)
    page = send(lead, data).content.decode()
    assert "Not uploaded, and nothing was changed. Line " in page
    assert reason in page
    assert "<script>\\n" not in page
    assert "2 rows, 2 not done" in page
    assert LogEntry.objects.filter(event="csv uploaded").count() == 1


def test_a_file_that_is_too_large_is_refused_and_one_is_removed_with_its_rows(
    waiting: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = browser_of("lead")
    with monkeypatch.context() as patched:
        patched.setattr(csv_uploads, "MAX_BYTES", 10)
        assert "The file is larger than" in send(lead, RIGHT).content.decode()
    assert "No file was sent" in lead.post(UPLOAD, {"file": "x"}, follow=True).content.decode()
    assert "There is no file to remove" in lead.post(REMOVE, follow=True).content.decode()
    hostile = 'x"<img src=x>\u202e' + "n" * 300 + ".csv"
    assert "<img src=x>" not in send(lead, RIGHT, hostile).content.decode()
    assert "The file and its rows are removed." in lead.post(REMOVE, follow=True).content.decode()
    removed = LogEntry.objects.get(event="csv removed")
    assert (removed.data["left"], len(removed.data["file"])) == (2, 100)
    assert lead.post(f"{PAGE}csv/other/upload/").status_code == 404


def test_rows_in_quarantine_keep_the_file_and_a_file_that_is_gone_fails_the_step(
    waiting: Rollout,
) -> None:
    lead = browser_of("lead")
    send(lead, b"title\nQuiet\nLoud\n")
    runner.start(waiting, 2, actor=ADA)
    rollouts.work()
    job = BackfillJob.objects.get()
    assert (job.updated, job.quarantined, job.step_run.run.state) == (1, 1, RunState.DONE)
    assert "2 rows, 1 not done" in text_of(lead, PAGE)
    rollouts.carry_back(waiting, 2)
    send(lead, RIGHT)
    run = runner.start(waiting, 2, actor=ADA)
    name = rollouts.ask("SELECT tablename FROM pg_tables WHERE tablename LIKE '%%csv'")
    rollouts.execute(f'DROP TABLE rollout."{name}"')
    rollouts.work()
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "The CSV file of step 'titles' is gone. Upload it" in run.error

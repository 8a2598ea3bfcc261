"""A rehearsal on a server of its own, and one that asks before it shares production's."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.conf import settings
from django.db import connection, connections
from psycopg.conninfo import make_conninfo

from rollout import runner
from rollout.engine.target import Target
from rollout.journal.environments import why_gone
from rollout.journal.labels import gate_label
from rollout.journal.rehearsal_servers import ALIAS
from rollout.models import LogEntry, Rehearsal, Snapshot
from rollout.plan import plans
from tests.console.journal import PAGE, browser_of, text_of
from tests.engine.old_server import old_server
from tests.engine.own_server import server
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA

pytestmark = [
    pytest.mark.xdist_group("rehearsals"),
    pytest.mark.usefixtures("clean_storage", "no_environment_is_left"),
]


@pytest.fixture(autouse=True)
def no_server_is_known() -> Iterator[None]:
    yield
    connections.databases.pop(ALIAS, None)


Name = Callable[[Target | str], None]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Name:
    """Names a server for rehearsals, as if the process had begun with that setting."""

    def named(target: Target | str) -> None:
        text = target if isinstance(target, str) else make_conninfo(**target.parameters)
        monkeypatch.setitem(settings.ROLLOUT, "REHEARSE_ON", text)
        with suppress(AttributeError):  # There may be none.
            del connections[ALIAS]

    return named


def database_names(target: Target) -> set[str]:
    with target.connect() as opened:
        return {name for (name,) in opened.execute("SELECT datname FROM pg_database")}


def test_a_rehearsal_is_run_on_the_server_that_is_named(
    short_plan: Snapshot, name_server: Name
) -> None:
    with server({}) as (target, _data):
        name_server(target)
        rehearsal = runner.rehearse(short_plan.rollout, keep=True, actor=ADA)
        rollouts.work()
        rehearsal.refresh_from_db()
        assert rehearsal.state == "passed", f"{rehearsal.error} {rehearsal.advice}"
        made = rehearsal.environment
        assert made.server == f"{target.parameters['host']}:5432"
        assert rehearsal.untouched_rows + rehearsal.written_rows >= 300
        assert [run.direction for run in rehearsal.sandbox.runs.filter(phase=1).order_by("pk")] == [
            *("forward", "backward")
        ]
        assert made.database in database_names(target)
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            # Other tests' databases come and go on this server meanwhile.
            beside = {name for (name,) in cursor.fetchall()}
            assert made.database not in beside, "nothing beside production"
        # Where the setting names another server by now, what was made there is out of reach.
        connections.databases.pop(made.database)
        name_server("")
        assert "no longer names" in why_gone(made.name)
        with pytest.raises(
            runner.Refused, match="Name it there again to inspect or drop the database"
        ):
            runner.drop_environment(made, actor=ADA)
        name_server(target)
        assert why_gone(made.name) == ""
        runner.drop_database(rehearsal, actor=ADA)
        assert made.database not in database_names(target)


def test_a_server_that_is_older_than_the_snapshot_is_refused(
    short_plan: Snapshot, name_server: Name
) -> None:
    with old_server() as target:
        name_server(target)
        with pytest.raises(runner.Refused) as refusal:
            runner.rehearse(short_plan.rollout, actor=ADA)
    assert "a dump cannot be restored into an older version" in str(refusal.value)
    assert f"PostgreSQL {short_plan.server_version.partition('.')[0]}" in str(refusal.value)
    assert not Rehearsal.objects.exists()


def test_a_server_that_does_not_answer_is_refused(short_plan: Snapshot, name_server: Name) -> None:
    name_server("host=/nowhere user=nobody dbname=postgres")
    with pytest.raises(runner.Refused, match="does not answer"):
        runner.rehearse(short_plan.rollout, actor=ADA)
    name_server("no such alias")
    with pytest.raises(runner.Refused, match="neither an alias in DATABASES nor a connection"):
        runner.rehearse(short_plan.rollout, actor=ADA)


def test_a_loaded_server_is_shared_only_by_who_says_so(short_plan: Snapshot) -> None:
    page = f"{PAGE}rehearsals/"
    engineer = browser_of("engineer")
    text = text_of(engineer, page)
    assert "whose processor, memory and disk it shares" in text
    with a_session_that_waits_for_a_lock():
        with pytest.raises(runner.UnderLoad, match=r"Lock queue: PID \d+") as refusal:
            runner.rehearse(short_plan.rollout, actor=ADA)
        assert "ungranted locks" in [item.name for item in refusal.value.items]
        answer = engineer.post(page, {"keep": "on"})
        assert answer.status_code == 422
        text = answer.content.decode()
        assert "Not started: the server of production is under load." in text
        assert "is waiting for RowExclusiveLock on properties" in text
        assert not Rehearsal.objects.exists()
        engineer.post(page, {"keep": "on", "anyway": "on"})
    assert Rehearsal.objects.get().keep_database
    entry = LogEntry.objects.get(event="rehearsal asked for")
    assert "Started although the server was under load: ungranted locks" in entry.message
    assert "is waiting for RowExclusiveLock" in entry.data["anyway"]["ungranted locks"]
    runner.cancel_rehearsal(Rehearsal.objects.get(), actor=ADA)
    rollouts.work()


@contextmanager
def a_session_that_waits_for_a_lock() -> Iterator[None]:
    with rollouts.target() as holder, rollouts.target() as waiter:
        with holder.transaction():
            holder.execute("LOCK TABLE properties IN SHARE MODE")
            wants = "LOCK TABLE properties IN ROW EXCLUSIVE MODE"
            waiting = threading.Thread(target=lambda: waiter.execute(f"BEGIN; {wants}; COMMIT"))
            waiting.start()
            pid = waiter.info.backend_pid
            wait_until(
                lambda: rollouts.ask(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s", pid
                )
            )
            yield
        waiting.join()


def test_staging_promises_the_gates_that_are_asked_there_and_no_other(short_plan: Snapshot) -> None:
    text = text_of(browser_of("engineer"), f"{PAGE}rehearsals/")
    promise = text.split("Gates that apply there: ")[1].split("</p>")[0]
    asked, _, not_asked = promise.partition("Gates that do not: ")
    plan = plans.get(short_plan.rollout.plan)
    for gate in {gate for number in range(5) for gate in plan.gates_of(number)}:
        there = gate in {g for n in range(5) for g in plan.gates_of(n, protected=False)}
        assert (gate_label(gate.name) in asked) == there, gate.name
        assert (gate_label(gate.name) in not_asked) == (not there), gate.name
    assert "Approved by a lead" in not_asked

"""Everything goes wrong at once in one backfill, beside writers: nothing is lost or doubled."""

import contextlib
import random
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest

from tests.support import rollouts
from tests.support.intervals import QUICK_WATCHDOG
from tests.support.processes import manage_process, stopped_after
from tests.support.rollouts import PLAN
from tests.support.servers import (
    DELIVERED_TWICE,
    OwnServer,
    copy_to_other_server,
    in_place_of_the_default,
    manage,
)

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("chaos")

ROWS = 60_000
KILLS = 50
RESTARTS = 5
# What the engine wrote is counted in its transactions as well.
COUNTED = """
CREATE OR REPLACE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_setting('application_name') = 'rollout' THEN
    PERFORM pg_sleep({seconds});
    INSERT INTO written_by_the_engine SELECT count(*) FROM these;
  END IF;
  RETURN NULL; END $$
"""
# Batches take a while, so that there is always one to be killed in.
SLOW = COUNTED.format(seconds=0.06)
AS_THEY_ARE = COUNTED.format(seconds=0)
TRIGGER = """
CREATE TABLE written_by_the_engine (rows bigint NOT NULL);
CREATE TRIGGER counted AFTER UPDATE ON properties REFERENCING NEW TABLE AS these
  FOR EACH STATEMENT EXECUTE FUNCTION counted()
"""
# Of lanes that were written after a transaction, without those of workers that are dead already.
HOLDERS = (
    "SELECT holder FROM rollout.lanes WHERE holder <> '' AND NOT done AND lease_until > now()"
    " AND xmin::text::bigint > {} ORDER BY random()"
)
RUN = "SELECT state FROM rollout_phaserun WHERE phase = 2"
WRITTEN = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes"
# Nothing was heard of the dead worker for as long as a lease.
TEN_SECONDS_PASS = """
UPDATE rollout_phaserun SET lease_until = now() - interval '1 second' WHERE state = 'running';
UPDATE rollout.lanes SET lease_until = now() - interval '1 second' WHERE holder = '{}'
"""


class Application(threading.Thread):
    """Changes legacy texts and adds listings; remembers what was committed for certain."""

    def __init__(self, url: str, keys: list[uuid.UUID]) -> None:
        super().__init__(name="application")
        self.url, self.keys = url, keys
        self.known: dict[uuid.UUID, str] = {}
        self.touched: set[uuid.UUID] = set()
        self.added = 0
        self.refused: list[str] = []
        self._random = random.Random(7)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(self.url, autocommit=True) as connection,
            ):
                while not self._ended.wait(0.02):
                    self._write(connection)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        text = f"{self._random.choice(('House', 'Loft', ' condo', 'Yurt'))} "
        new = self._random.random() < 0.2
        key = (
            uuid.UUID(int=self._random.getrandbits(128)) if new else self._random.choice(self.keys)
        )
        # Until it is known to be committed, nobody can say what the row holds.
        self.known.pop(key, None)
        self.touched.add(key)
        try:
            if new:
                connection.execute(
                    "INSERT INTO properties (id, title, description, address, city, postal_code,"
                    " type, created_at, updated_at) VALUES (%s, '', '', '', '', '', %s, now(),"
                    " now())",
                    [key, text],
                )
            else:
                connection.execute("UPDATE properties SET type = %s WHERE id = %s", [text, key])
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            self.refused.append(str(error))
        else:
            self.known[key] = text


def kill_one_at_its_work(server: OwnServer, generator: random.Random, *, since: int) -> bool:
    """SIGKILL, at a random moment, to a process that holds a lane; whether there was one.

    An idle one is spared: its death could take the queue's lock along. After a crash of the
    database that is each whose lanes were last written before the transaction ``since``: it has
    lost its session, and its lanes only seem to be at work until their leases run out.
    """
    time.sleep(generator.uniform(0, 0.1))
    holder = server.ask(HOLDERS.format(since))
    if not holder:
        return False
    try:
        process = psutil.Process(int(holder.rpartition(":")[2]))
        process.suspend()
        at_work = f"SELECT count(*) FROM ({HOLDERS.format(since)}) AS h WHERE holder = '{holder}'"
        if server.ask(at_work):
            process.kill()
            server.ask(TEN_SECONDS_PASS.format(holder))
            return True
        process.resume()
    except psutil.NoSuchProcess:
        pass
    return False


def test_fifty_kills_five_crashes_of_the_database_and_every_message_twice_lose_and_double_nothing(
    own_server: OwnServer, template: str, django_db_blocker: "DjangoDbBlocker", tmp_path: Path
) -> None:
    url = own_server.database.url
    copy_to_other_server(template, url)
    with django_db_blocker.unblock(), in_place_of_the_default(url):
        rollouts.load_listings(ROWS)
        rollouts.carry_out(rollouts.the_rollout(), 0, 1)
    env = own_server.database.env(LOG_LEVEL="INFO", **QUICK_WATCHDOG)
    logs = [tmp_path / name for name in ("qcluster.log", "dog.log", "first.log", "second.log")]
    generator = random.Random(1)
    with (
        stopped_after(manage_process("qcluster", env=env, log=logs[0])),
        stopped_after(manage_process("rollout", "watchdog", env=env, log=logs[1])),
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SLOW.encode())
            connection.execute(TRIGGER.encode())
            connection.execute(DELIVERED_TWICE.encode())
            rows = connection.execute("SELECT id, type, status FROM properties").fetchall()
        before = {key: (type_, status) for key, type_, status in rows}
        application = Application(url, list(before)[: ROWS // 2])
        application.start()
        try:
            _start_twice(env, logs[2:])
            _until_it_ends(own_server, generator, logs)
        finally:
            application.stop()
    _assert_nothing_was_lost(url, application, before)


def _start_twice(env: dict[str, str], logs: list[Path]) -> None:
    """Two processes start the phase at the same moment: one of them does."""
    both = [manage_process("rollout", "start", PLAN, "2", env=env, log=log) for log in logs]
    assert sorted(running.process.wait(60) for running in both) == [0, 1], both[0].output()


def _until_it_ends(server: OwnServer, generator: random.Random, logs: list[Path]) -> None:
    kills = crashes = 0
    written = since = 0
    deadline = time.monotonic() + 900
    while (state := server.ask(RUN)) != "done":
        logged = "".join(log.read_text()[-3000:] for log in logs[:2])
        assert time.monotonic() < deadline, f"{kills} kills, {crashes} crashes: {state}\n{logged}"
        assert state != "failed", server.ask("SELECT max(error) FROM rollout_phaserun")
        now = server.ask(WRITTEN) or 0
        if kills < KILLS and now > written:
            if kill_one_at_its_work(server, generator, since=since):
                kills += 1
                written = now
                server.ask("UPDATE rollout_backfilljob SET workers = 2 WHERE finished_at IS NULL")
            if kills // 9 > crashes < RESTARTS:
                crashes += 1
                server.crash()
                written, since = 0, server.ask("SELECT txid_current()")
            if (kills, crashes) == (KILLS, RESTARTS):
                server.ask(AS_THEY_ARE)
        else:
            time.sleep(0.05)
    assert (kills, crashes) == (KILLS, RESTARTS)


def _assert_nothing_was_lost(
    url: str, application: Application, before: dict[uuid.UUID, tuple[str | None, str | None]]
) -> None:
    assert application.refused == []
    assert len(application.known) > 100
    with psycopg.connect(url) as connection:
        job = connection.execute(
            "SELECT scanned, updated, already_right, quarantined, rewritten"
            " FROM rollout_backfilljob"
            " WHERE kind = 'fill'"
        ).fetchone()
        truth = connection.execute("SELECT sum(rows) FROM written_by_the_engine").fetchone()
        report = connection.execute(
            "SELECT status, rows FROM rollout_auditreport ORDER BY id DESC LIMIT 1"
        ).fetchone()
        now = {
            key: (type_, status, id_)
            for key, type_, status, id_ in connection.execute(
                "SELECT id, type, status, property_type_id FROM properties"
            )
        }
        done = connection.execute(
            "SELECT count(*), count(DISTINCT data->>'step') FROM rollout_logentry"
            " WHERE event = 'step done' AND phase = 2"
        ).fetchone()
    assert job
    assert truth
    assert report
    assert done
    scanned, updated, already_right, quarantined, rewritten = job
    assert scanned == updated + already_right + quarantined <= len(now)
    assert (updated + rewritten, quarantined) == (truth[0], 0)
    # Rows may have come after the audit.
    assert report[0] == "clean"
    assert len(before) <= report[1] <= len(now)
    assert done[0] == done[1]
    for key, text in application.known.items():
        assert now[key][0] == text
    for key, legacy in before.items():
        if key not in application.touched:
            assert now[key][:2] == legacy
    assert all(id_ is not None for _type, _status, id_ in now.values())
    assert "Hash chain OK" in manage("rollout", "verify-log", url=url)

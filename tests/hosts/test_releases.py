"""An ordinary Django project goes forward and back through a rollout, two releases at a time.

Real processes of both releases write and read all the time; nothing in them imports Rollout, but
for the one field of release L, in which the application's code stays as it was.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from config import embedded
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.docs.test_django import MIGRATE, example, models_of
from tests.docs.test_own_plan import examples as examples_of_own_plan
from tests.docs.test_own_plan import run
from tests.engine.actions import audit, do_phase, undo_phase
from tests.engine.test_every_phase import schema_lines
from tests.support import shops
from tests.support.django_projects import SETTINGS, make_project
from tests.support.preloaded import preloaded_project
from tests.support.processes import Running, stopped_after, wait_until

pytestmark = pytest.mark.slow

PHASE_OF_RELEASE = {"B": 1, "C": 3, "D": 4}
# Each kind of write, once more.
WRITES_AT_A_BOUNDARY = 11
NAME_OF_ROW = "(SELECT s.name FROM shop_order_states AS s WHERE s.id = state_id)"
# Enough for many lines of a ledger.
RECENT_BYTES = 8_000
OTHER_FIELDS = "    # Its other fields, options and methods stay as they are.\n"


class Fleet:
    """The processes of the releases that run now, each with a ledger of its own."""

    def __init__(self, team: "Team", directory: Path) -> None:
        self.team = team
        self.directory = directory
        self.processes: dict[str, tuple[Running, ExitStack]] = {}

    def deploy(self, name: str) -> None:
        stack = ExitStack()
        release = self.team.releases[name]
        running = Running(
            [sys.executable, "work.py", name, str(self.ledger(name))],
            env=release.environment(self.team.live),
            log=self.directory / f"{name}.log",
            directory=release.directory,
            fork_of=preloaded_project,
        )
        self.processes[name] = stack.enter_context(stopped_after(running)), stack
        self.settle()

    def retire(self, name: str) -> None:
        running, stack = self.processes.pop(name)
        with stack:
            assert running.process.poll() is None, running.output()
            assert running.stop() == 0, running.output()

    def settle(self) -> None:
        """Wait until each has written much more, and has read what the others wrote since now."""
        before = {name: self.newest(name, "tick") or 0 for name in self.processes}

        def have_all() -> bool:
            for name, (running, _) in self.processes.items():
                assert running.process.poll() is None, running.output()
                seen = self.newest(name, "seen") or {}
                if (self.newest(name, "tick") or 0) < before[name] + WRITES_AT_A_BOUNDARY:
                    return False
                if any(seen.get(other, 0) <= before[other] for other in self.processes):
                    return False
            return True

        wait_until(have_all, seconds=120)

    def end(self) -> None:
        """Stop those that a failed test left."""
        for _, stack in self.processes.values():
            stack.close()

    def ledger(self, name: str) -> Path:
        return self.directory / f"{name}.ledger"

    def lines(self, name: str, *, last: int = 0) -> list[dict[str, Any]]:
        """The whole lines of a ledger, or those in its last bytes."""
        if not self.ledger(name).exists():
            return []
        with self.ledger(name).open("rb") as ledger:
            start = max(0, ledger.seek(0, os.SEEK_END) - last) if last else 0
            ledger.seek(start)
            lines = ledger.read().split(b"\n")[1 if start else 0 : -1]
        return [json.loads(line) for line in lines]

    def newest(self, name: str, key: str) -> Any:
        """What the newest line that has a key says, or None."""
        lines = reversed(self.lines(name, last=RECENT_BYTES))
        return next((line[key] for line in lines if key in line), None)

    def written(self) -> dict[int, list[tuple[int, str | None, bool]]]:
        """All writes of each order by all releases: its version, state, and whether it is paid."""
        orders: dict[int, list[tuple[int, str | None, bool]]] = {}
        for path in self.directory.glob("*.ledger"):
            for line in self.lines(path.stem):
                for key, version, state, is_paid in line.get("written", ()):
                    orders.setdefault(key, []).append((version, state, is_paid))
        return {key: sorted(writes, key=lambda of: of[0]) for key, writes in orders.items()}


@contextmanager
def databases() -> Iterator[list[str]]:
    """The addresses of an empty database and of one that is not there yet."""
    urls = [
        embedded.with_database(os.environ["DATABASE_URL"], f"releases_{uuid4().hex}")
        for _ in range(2)
    ]
    embedded.create_database(urls[0])
    try:
        yield urls
    finally:
        for url in urls:
            embedded.drop_database(url)


def models_after(name: str) -> tuple[str, ...]:
    """The command that prints the models of the release after another one."""
    phase = PHASE_OF_RELEASE.get(chr(ord(name) + 1))
    return ("--then", *models_of(phase)) if phase else ()


class Team:
    """What people do: write the next release, migrate, start and roll back phases."""

    def __init__(self, directory: Path, plan: Plan, live: str, new: str) -> None:
        self.live, self.new, self.plan = live, new, plan
        self.target = Target(conninfo_to_dict(live))
        source = examples_of_own_plan("python", "shop/rollout.py")
        models = example("shop/models.py").replace(
            "\n    class Meta", f"{shops.FIELDS}\n    class Meta"
        )
        first = make_project(directory / "A", models=models, plan=source)
        for name, text in {
            "company/settings.py": SETTINGS + shops.SETTINGS,
            "company/urls.py": shops.URLS,
            "shop/admin.py": shops.ADMIN,
            "shop/states.py": shops.STATES["A"],
            "work.py": shops.WORK,
        }.items():
            first.write(name, text)
        self.releases = {"A": first}
        commands = ("makemigrations", "shop", "--then", "migrate")
        printed = self.releases["A"].manage(live, *commands, *models_after("A"))
        self.next_models = printed[printed.find("# After") :]
        embedded.create_database(new, template=embedded.database_name(live))
        self.schema_of_first = schema_lines(live)

    def write_release(self, name: str) -> None:
        """The next release, from what `rollout models` printed, and its migration."""
        before = self.releases[chr(ord(name) - 1)]
        release = replace(before, directory=before.directory.with_name(name))
        shutil.copytree(before.directory, release.directory)
        release.write("shop/states.py", shops.STATES[name])
        release.write(
            "shop/models.py", self.next_models.replace(OTHER_FIELDS, shops.FIELDS[1:] + "\n")
        )
        self.releases[name] = release

    def write_release_of_lookup_field(self) -> None:
        """Release L: the model of A with one other line, which `rollout models` prints."""
        first = self.releases["A"]
        release = replace(first, directory=first.directory.with_name("L"))
        shutil.copytree(first.directory, release.directory)
        printed = first.manage(self.live, *models_of(4), "--lookup-fields")
        assert shops.LOOKUP_FIELD in printed
        models = (first.directory / "shop/models.py").read_text()
        assert models.count(shops.TEXT_FIELD) == 1
        release.write(
            "shop/models.py",
            "from rollout.fields import LookupField\n"
            + models.replace(shops.TEXT_FIELD, shops.LOOKUP_FIELD),
        )
        release.write("shop/states.py", shops.STATES["L"])
        self.releases["L"] = release

    def migrate(self, name: str) -> None:
        """Nothing changes here; a new database gets the same schema, and needs no migration."""
        commands = (*MIGRATE, *models_after(name))
        printed = self.releases[name].manage(self.live, *commands)
        self.next_models = printed[printed.find("# After") :]
        self.releases[name].manage(self.new, "migrate", "shop", "zero", "--then", "migrate")
        assert schema_lines(self.new) == schema_lines(self.live), name

    def migrate_back(self) -> None:
        """The migrations of the last release know that their phases are rolled back."""
        self.releases["D"].manage(self.live, "migrate", "shop", "0001")
        assert schema_lines(self.live) == self.schema_of_first

    def do(self, connection: Connection, phase: int) -> None:
        do_phase(self.target, connection, self.plan, phase)

    def undo(self, connection: Connection, phase: int) -> None:
        undo_phase(self.target, connection, self.plan, phase)


def assert_nothing_is_lost(connection: Connection, fleet: Fleet, *, state: str) -> None:
    """Every write of every release is there, or another one came after it."""
    # A write between the reading of the rows and that of the ledgers would look like a lost one.
    assert not fleet.processes
    rows = {
        key: (version, note, is_paid, shown)
        for key, version, note, is_paid, shown in connection.execute(
            f"SELECT id, version, note, is_paid_by_note, {state} FROM shop_order".encode()
        ).fetchall()
    }
    written = fleet.written()
    assert len(written) > 300
    for key, writes in written.items():
        assert len({version for version, _, _ in writes}) == len(writes), (key, writes)
        last = writes[-1]
        if last[1] is None:
            assert key not in rows, writes
        else:
            version, note, is_paid, shown = rows[key]
            assert (version, note, is_paid) == last, writes
            assert {"void": "Cancelled", "open": "Open"}.get(shown, shown) == note, writes
            assert version == len(writes) + (writes[0][0] - 1), writes


def test_two_releases_at_once_lose_nothing_at_any_boundary_forward_or_back(
    tmp_path: Path, own_plans: None
) -> None:
    plan = run(examples_of_own_plan("python", "shop/rollout.py"))["PLAN"]
    with ExitStack() as stack:
        live, new = stack.enter_context(databases())
        team = Team(tmp_path, plan, live, new)
        connection = stack.enter_context(team.target.connect())
        connection.execute(
            "INSERT INTO shop_order (state, note, version, writer, tick, is_paid_by_note)"
            " SELECT (ARRAY['Open', 'void', 'Sold', 'Open', 'open'])[1 + n % 5],"
            " (ARRAY['Open', 'Cancelled', 'Sold', 'Open', 'Open'])[1 + n % 5], 0, '', 0, false"
            " FROM generate_series(1, 300) AS n"
        )
        fleet = Fleet(team, tmp_path)
        stack.callback(fleet.end)

        fleet.deploy("A")
        team.do(connection, 0)
        team.do(connection, 1)
        team.write_release("B")
        team.migrate("B")
        fleet.deploy("B")
        team.do(connection, 2)
        fleet.settle()
        team.do(connection, 3)
        fleet.settle()
        fleet.retire("A")
        team.write_release("C")
        team.migrate("C")
        fleet.deploy("C")
        team.write_release_of_lookup_field()
        fleet.deploy("L")
        team.undo(connection, 3)
        fleet.settle()
        team.do(connection, 3)
        fleet.retire("L")
        fleet.retire("B")
        team.write_release("D")
        fleet.deploy("D")
        fleet.retire("C")
        team.do(connection, 4)
        fleet.settle()
        team.migrate("D")
        fleet.retire("D")
        assert_nothing_is_lost(connection, fleet, state=NAME_OF_ROW)

        fleet.deploy("D")
        team.undo(connection, 4)
        fleet.deploy("C")
        team.undo(connection, 3)
        fleet.settle()
        fleet.retire("D")
        fleet.deploy("B")
        fleet.retire("C")
        fleet.deploy("A")
        assert audit(team.target, plan).mismatched == 0
        team.undo(connection, 2)
        fleet.settle()
        fleet.retire("B")
        team.undo(connection, 1)
        team.undo(connection, 0)
        fleet.settle()
        fleet.retire("A")
        assert_nothing_is_lost(connection, fleet, state="state")
        team.migrate_back()

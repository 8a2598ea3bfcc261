"""Scripts of a rollback, run by psql."""

import os
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from config import embedded
from rollout.management.commands.rollout import Command
from rollout.worker.runs import RunJob
from tests.engine.test_every_phase import schema_lines
from tests.support import rollouts
from tests.support.processes import completed, wait_until
from tests.support.rollouts import PLAN
from tests.support.servers import Database

ROWS = {
    "properties": "SELECT jsonb_object_agg(id, to_jsonb(p)) FROM properties AS p",
    "images": "SELECT jsonb_object_agg(id, to_jsonb(p)) FROM property_images AS p",
    "modes": "SELECT coalesce(jsonb_agg(jsonb_build_array(read_mode, write_mode, features)),"
    """ '[["legacy", "legacy", []]]') FROM rollout.modes""",
    "own": "SELECT jsonb_agg(c.relname ORDER BY c.relname) FROM pg_class c"
    " WHERE c.relnamespace = 'rollout'::regnamespace AND c.relkind = 'r'",
    "functions": "SELECT jsonb_agg(concat_ws(' ', p.proname,"
    " obj_description(p.oid, 'pg_proc')) ORDER BY p.proname) FROM pg_proc p"
    " WHERE p.pronamespace = 'rollout'::regnamespace",
}


def psql() -> Path:
    program = embedded.program("psql")
    if program.exists():
        return program
    other = shutil.which("psql")
    if other is None:
        pytest.skip("there is no psql: neither the embedded PostgreSQL's nor Debian's")
    return Path(other)


def carry_out(script: str, database: Database, directory: Path, *more: str) -> tuple[int, str]:
    file = directory / "rollback.sql"
    file.write_text(script)
    done = completed(
        [psql(), "-X", *more, "-f", file, database.url],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def sessions() -> set[int]:
    """The process ids of the sessions that the script would take for a worker's."""
    with rollouts.target() as opened:
        opened.execute("SET application_name = 'tests'")
        rows = opened.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'rollout'"
        ).fetchall()
    return {pid for (pid,) in rows}


def printed(phase: int, *, rollback: bool = True) -> str:
    """What `manage.py rollout sql` prints of a phase, run in this process."""
    before = sessions()
    options = ["--rollback"] if rollback else []
    with redirect_stdout(StringIO()) as output, pytest.raises(SystemExit) as end:
        Command().run_from_argv(["manage.py", "rollout", "sql", PLAN, str(phase), *options])
    assert not end.value.code
    # A session outlives its connection for a moment.
    wait_until(lambda: sessions() <= before)
    return output.getvalue()


def everything(database: Database) -> dict[str, Any]:
    """The catalog, every row of the application's tables, and what the engine keeps."""
    with rollouts.target() as opened:
        opened.execute("SELECT set_config('search_path', 'public', false)")
        rows = {}
        for name, question in ROWS.items():
            row = opened.execute(question.encode()).fetchone()
            rows[name] = row and row[0]
    return {"schema": schema_lines(database.url), **rows}


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is gone after so many steps of the phase: nobody writes down what it did."""
    step = RunJob._run_step

    def dies(self: RunJob, position: int, *more: Any) -> bool:
        if position >= steps:
            raise SystemExit("killed")
        return step(self, position, *more)

    monkeypatch.setattr(RunJob, "_run_step", dies)

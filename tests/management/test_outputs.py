"""What the shell takes and prints, where texts are no texts or tell a terminal what to do."""

import io
import json
import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import Group, User
from django.core.management.base import OutputWrapper

from config.home import ROOT
from rollout.management.commands.rollout import Command
from rollout.management.outputs import Escaped, Exact
from rollout.models import Rollout, RunState
from rollout.plan import plans
from rollout.queries.text_reports import sql_of
from tests.console import journal
from tests.support import rollouts
from tests.support.servers import Database

CLEAR_SCREEN, TITLE, TURNED = "\x1b[2J", "\x1b]0;mine\x07", "\u202e"
HOSTILE = f"{CLEAR_SCREEN}{TITLE}{TURNED}\x9b31m"
NO_UTF8 = b"because \xff\xfe"


def shell(
    database: Database, *arguments: str | bytes, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """`manage.py rollout`, as a process, with its bytes."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "rollout", *arguments],
        env={**database.env(), **variables},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_no_text_of_the_journal_tells_a_terminal_what_to_do(
    bare: Rollout, committed_db: Database
) -> None:
    journal.ran(bare, 0, RunState.FAILED, error=f"one\ntwo {HOSTILE}", advice=HOSTILE)
    name = f"mallory{CLEAR_SCREEN}\nproduction       lead       mallory"
    User.objects.create_user(name).groups.add(Group.objects.get(name="viewer"))
    shown = shell(committed_db, "show", bare.plan)
    listed = shell(committed_db, "who")
    as_json = shell(committed_db, "who", "--json")
    for printed in (shown, listed, as_json):
        text = printed.stdout.decode() + printed.stderr.decode()
        assert not set(HOSTILE) & set(text) & {"\x1b", "\x07", "\x9b", TURNED}
    assert "two \\u001b[2J" in shown.stdout.decode()
    assert len(listed.stdout.splitlines()) == 3
    people = [name for role in json.loads(as_json.stdout) for name in role["people"]]
    assert name in people


@pytest.mark.parametrize(
    "arguments",
    [
        ["override", rollouts.PLAN, "1", "drift", "--user", "ada", "--reason", NO_UTF8],
        ["override", rollouts.PLAN, "1", NO_UTF8, "--user", "ada", "--reason", "it is fine so"],
        ["show", NO_UTF8],
        ["show", rollouts.PLAN, "--env", NO_UTF8],
        ["approve", rollouts.PLAN, "1", "--digest", "x", "--user", NO_UTF8],
        ["schedule", rollouts.PLAN, "1", NO_UTF8],
        ["tick", rollouts.PLAN, NO_UTF8],
        ["audit", rollouts.PLAN, "--table", NO_UTF8],
        ["stage", rollouts.PLAN, "--name", NO_UTF8],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_argument_that_is_no_text_is_refused(
    bare: Rollout, arguments: list[str | bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        Command().run_from_argv(["manage.py", "rollout", *map(os.fsdecode, arguments)])
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (2, "")
    assert "is not text in UTF-8: " in printed.err


def test_a_password_that_is_no_text_is_refused(bare: Rollout, committed_db: Database) -> None:
    arguments = ("approve", bare.plan, "1", "--digest", "x", "--user", "ada")
    refused = shell(committed_db, *arguments, stdin=NO_UTF8)
    assert refused.returncode == 1
    assert b"The password is not text in UTF-8." in refused.stderr


def test_a_shell_user_whose_name_is_no_text_still_acts(
    bare: Rollout, committed_db: Database
) -> None:
    journal.ran(bare, 0, RunState.QUEUED)
    name = os.fsdecode(b"eve\xff\x1b[2J") + "x" * 200
    paused = shell(committed_db, "pause", bare.plan, LOGNAME=name)
    assert paused.returncode == 0, paused.stderr
    assert b"\x1b" not in paused.stderr


def test_a_stream_that_lacks_a_character_gets_its_escape(
    bare: Rollout, committed_db: Database
) -> None:
    journal.ran(bare, 0, RunState.FAILED, error="“quoted”")
    shown = shell(committed_db, "show", bare.plan, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert b"\\u201c" in shown.stdout
    sql = shell(committed_db, "sql", bare.plan, "2", PYTHONIOENCODING="ascii")
    assert sql.returncode == 0
    assert sql.stdout.decode().rstrip() == sql_of(plans.get(bare.plan), 2, rollback=False).rstrip()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "stream", "exact"),
    [
        (Escaped, io.StringIO, False),
        (Escaped, Terminal, False),
        (Exact, io.StringIO, True),
        (Exact, Terminal, False),
    ],
)
def test_data_are_exact_but_on_a_terminal(
    kind: type[Escaped], stream: type[io.StringIO], exact: bool
) -> None:
    out = stream()
    kind(OutputWrapper(out)).write(f"a\tb{HOSTILE}")
    assert (out.getvalue() == f"a\tb{HOSTILE}\n") == exact
    assert out.getvalue().startswith("a\tb")

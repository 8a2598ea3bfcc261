"""What people sign for, in a shell: as users of the site who know their password."""

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.utils import timezone

from rollout.models import LogEntry, PhaseRun, Rollout, SignOff
from rollout.plan import plans
from tests.console import journal
from tests.support import rollouts

PLAN = rollouts.PLAN
Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(db: None, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs a verb with a password on its standard input: status, output, error."""

    def run(*words: str, password: str = "right") -> tuple[int, str, str]:  # noqa: S107
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        out, err = io.StringIO(), io.StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command("rollout", *words, stdout=out, stderr=err, skip_checks=True)
        code = ended.value.code
        assert isinstance(code, int)
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def rollout(db: None) -> Rollout:
    rollout = rollouts.the_rollout()
    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    for name, role in (("lead", "lead"), ("lead2", "lead"), ("engineer", "engineer")):
        user = User.objects.create_user(name, password="right")
        user.groups.add(Group.objects.get(name=role))
    return rollout


def digest() -> str:
    return plans.get(PLAN).digest_of(3)


def test_a_lead_approves_by_the_digest_that_sql_prints(rollout: Rollout, shell: Shell) -> None:
    _, sql, _ = shell("sql", PLAN, "3")
    assert sql.startswith(f"-- Phase 3 (enforce) of {PLAN}, digest {digest()}, plan version ")
    _, asked, _ = shell("ask-approval", PLAN, "3")
    assert f"--digest {digest()} --user NAME" in asked
    code, out, err = shell("approve", PLAN, "3", "--digest", digest(), "--user", "lead2")
    assert (code, err) == (0, "")
    assert out.startswith("Phase 3 approved until ")
    approval = SignOff.objects.get(kind="approval")
    assert (approval.actor_name, approval.actor) == ("lead2", User.objects.get(username="lead2"))
    code, out, _ = shell("withdraw", PLAN, "3", "--user", "lead2")
    assert (code, out) == (0, "Withdrawn: Approval of phase 3 by lead2.\n")
    assert (
        "no valid approvals or overrides for phase 3"
        in shell("withdraw", PLAN, "3", "--user", "lead2")[2]
    )


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        (
            "lead2",
            "wrong",
            "Invalid user name or password. Check --user lead2, then type the password again.",
        ),
        (
            "nobody",
            "right",
            "Invalid user name or password. Check --user nobody, then type the password again.",
        ),
        (
            "engineer",
            "right",
            "engineer does not have the permission approve_rollout in production. Ask an "
            "administrator, or use another --user.",
        ),
    ],
)
def test_nobody_signs_in_another_s_name(
    rollout: Rollout, shell: Shell, user: str, password: str, reason: str
) -> None:
    words = ("approve", PLAN, "3", "--digest", digest(), "--user", user)
    code, _, err = shell(*words, password=password)
    assert (code, err) == (1, f"{reason}\n")
    assert not SignOff.objects.exists()


@pytest.mark.parametrize("words", [("approve",), ("start",), ("schedule", "2099-01-01T22:00")])
def test_an_unread_phase_is_neither_approved_nor_started(
    rollout: Rollout, shell: Shell, words: tuple[str, ...]
) -> None:
    verb, *more = words
    read = ("--digest", "0123456789ab", "--user", "lead2")
    code, _, err = shell(verb, PLAN, "3", *more, *read)
    assert code == 1
    assert f"({read[1]}). Review phase 3 again before you {verb} it." in err
    assert "Phase 3 has changed since you read it" in err
    assert not rollout.runs.filter(phase=3).exists()


def test_a_rollback_of_one_phase_or_several_is_of_what_was_read(
    rollout: Rollout, shell: Shell
) -> None:
    unread = ("--digest", "0123456789ab", "--user", "lead")
    code, _, err = shell("rollback", PLAN, "2", *unread)
    assert (code, err) == (
        1,
        "Phase 2 has changed since you read it (0123456789ab). "
        "Review phase 2 again before you roll it back.\n",
    )
    code, _, err = shell("rollback", PLAN, "--to", "0", *unread)
    assert code == 1
    assert "The phases to roll back have changed since you read them. Review them again." in err
    assert not rollout.runs.filter(direction="backward").exists()
    plan = plans.get(PLAN)
    for words, digest in (("2",), plan.digest_of(2)), (("--to", "0"), plan.digest):
        # As ``sql`` prints it.
        assert digest in shell("sql", PLAN, "2", "--rollback")[1].partition("\n")[0]
        assert shell("rollback", PLAN, *words, "--digest", digest, "--user", "lead")[0] == 0
        rollout.runs.filter(direction="backward").delete()


def test_a_shell_without_a_name_starts_nothing_that_needs_approval(
    rollout: Rollout, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.gates import Evidence, check_gate
    from rollout.management.actors import ShellActor
    from rollout.plan.gates import Approved

    shell("approve", PLAN, "3", "--digest", digest(), "--user", "lead2")
    monkeypatch.setattr("getpass.getuser", lambda: "lead")
    for starter, status in (
        (ShellActor(), "pending"),
        (User.objects.get(username="lead2"), "pending"),
        (User.objects.get(username="lead"), "pass"),
    ):
        gate = check_gate(Approved(), Evidence(rollout, 3, starter=starter))
        assert gate.status == status


def test_a_gate_is_overridden_by_two_leads_before_a_destructive_phase(
    rollout: Rollout, shell: Shell
) -> None:
    words = ("override", PLAN, "3", "audit clean", "--reason", "It was made elsewhere.")
    code, out, _ = shell(*words, "--user", "lead")
    assert code == 0
    assert "once another lead confirms it" in out
    assert shell("confirm", PLAN, "3", "audit clean", "--user", "lead")[0] == 1
    # By its label, as "show" prints it.
    code, out, _ = shell("confirm", PLAN, "3", "Audit clean", "--user", "lead2")
    assert (code, out) == (0, "Confirmed lead's override of gate “Audit clean”.\n")
    assert "overridden by lead and lead2: It was made elsewhere." in shell("show", PLAN)[1]
    assert shell("confirm", PLAN, "3", "no drift", "--user", "lead2")[0] == 1


def test_a_start_is_scheduled_and_cancelled(rollout: Rollout, shell: Shell) -> None:
    at = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"
    code, out, _ = shell("schedule", PLAN, "3", at, "--user", "lead")
    assert (code, out) == (
        0,
        f"Phase 3 starts at {at.replace('T', ' ')} UTC if its gates pass then."
        " This phase is restrictive.\n",
    )
    assert f"lead scheduled phase 3 for {at.replace('T', ' ')} UTC." in shell("show", PLAN)[1]
    assert shell("unschedule", PLAN)[1] == "Scheduled start cancelled.\n"
    assert shell("unschedule", PLAN)[0] == 1
    assert "Invalid time “tonight”. Use" in shell("schedule", PLAN, "3", "tonight")[2]


def test_the_checklist_is_shown_and_ticked(rollout: Rollout, shell: Shell) -> None:
    code, out, _ = shell("checklist", PLAN)
    assert code == 1
    assert "pending  rollback-scripts: Rollback scripts exported." in out
    ticked = shell("tick", PLAN, "rollback-scripts", "--user", "engineer")
    assert ticked[1] == "Item marked as done.\n"
    assert "done     rollback-scripts" in shell("checklist", PLAN)[1]
    shell("tick", PLAN, "rollback-scripts", "--take-back")
    assert "pending  rollback-scripts" in shell("checklist", PLAN)[1]
    assert "Items: " in shell("tick", PLAN, "nonsense")[2]


def test_the_flows_are_tested(rollout: Rollout, shell: Shell) -> None:
    code, out, _ = shell("probe", PLAN)
    assert (code, out.count("passed  properties.flows.")) == (0, 4)


def test_a_request_is_addressed_in_a_shell_too(rollout: Rollout, shell: Shell) -> None:
    asked = ("ask-approval", PLAN, "3", "--to", "lead2", "--to", "lead", "--comment", "At ten.")
    code, out, _ = shell(*asked)
    assert code == 0
    assert out.startswith("Approval requested for phase 3 from lead and lead2, digest ")
    request = SignOff.objects.get()
    assert (request.addressees, request.reason) == (["lead", "lead2"], "At ten.")
    assert "Not asked: engineer." in shell("ask-approval", PLAN, "3", "--to", "engineer")[2]


def test_runs_are_paused_cancelled_and_rolled_back_in_a_users_name(
    rollout: Rollout, shell: Shell
) -> None:
    run = journal.ran(rollout, 3, "running")
    code, _, _ = shell("pause", PLAN, "--user", "engineer")
    assert (code, LogEntry.objects.latest("pk").actor) == (0, "engineer")
    refusal = "engineer does not have the permission start_rollout in production."
    for verb in ("cancel", "retry"):
        code, _, err = shell(verb, PLAN, "--user", "engineer")
        assert code == 1
        assert refusal in err
    assert shell("cancel", PLAN, "--user", "lead")[0] == 0
    assert LogEntry.objects.latest("pk").actor == "lead"
    run.delete()
    code, _, err = shell("rollback", PLAN, "2", "--user", "engineer")
    assert code == 1
    assert "the permission roll_back_rollout" in err
    assert shell("rollback", PLAN, "2", "--user", "lead", password="wrong")[0] == 1
    assert shell("rollback", PLAN, "2", "--user", "lead")[0] == 0
    assert PhaseRun.objects.latest("pk").actor_name == "lead"

"""The console's verbs for a shell and for CI."""

import json
import signal
import sys
import threading
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, OutputWrapper
from django.db import DatabaseError

from rollout import runner
from rollout.engine.selftest import Inconclusive
from rollout.journal import activity_log
from rollout.journal.actors import Actor
from rollout.journal.audit_mappings import against
from rollout.journal.environments import DEFAULT, UnknownEnvironment, alias_of
from rollout.journal.heartbeats import liveness
from rollout.management import (
    blockers,
    people,
    rehearsing,
    scaffolds,
    schema,
    selftests,
    signing,
    snapshots,
)
from rollout.management.actors import ShellActor, actor_of, add_user
from rollout.management.outputs import Escaped, Exact, unreadable
from rollout.management.pipes import reader_may_leave
from rollout.models import AuditReport, AuditStatus, PhaseRun, Rollout, RunState
from rollout.plan import plans
from rollout.plan.registry import UnknownPlan
from rollout.plan.sql_exports import NotOurs, write_files
from rollout.queries import exports, pauses, text_reports
from rollout.queries.sample_bounds import statement_of
from rollout.queries.status import all_rollouts, find_rollout, status_of
from rollout.runner import audits
from rollout.watchdog.loop import Watchdog

DONE, NO, ERROR = 0, 1, 2
PATHS = ("write", "check")
"""Options that name files."""


class Command(BaseCommand):
    help = "Shows, starts, watches and rolls back rollouts."
    requires_system_checks = ["rollout"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "Exit status: 0 done, 1 the answer is no (mismatches, drift, a broken log, a gate "
            "fails), 2 wrong use or an error, 3 nothing blocks but something warns (preflight, "
            "readiness)."
        )
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        def verb(name: str, help: str, *, plan: bool | str = True, as_json: bool = False) -> Any:
            sub = verbs.add_parser(name, help=help, description=help)
            if plan:
                sub.add_argument("plan", nargs="?" if plan == "optional" else None)
            if plan is not False:
                sub.add_argument("--env", default=DEFAULT, help="the environment (%(default)s)")
            if as_json:
                sub.add_argument("--json", action="store_true", help="print JSON")
            return sub

        verb("list", "List every plan in every environment.", plan=False, as_json=True)
        verb("show", "Show where a rollout stands.", as_json=True)
        sql = verb("sql", "Print a phase as a script for psql, or write all phases as files.")
        sql.add_argument("phase", type=int, nargs="?")
        sql.add_argument(
            "--write",
            metavar="DIR",
            help="write numbered SQL files of every phase, for a pull request",
        )
        sql.add_argument("--rollback", action="store_true", help="the script that undoes the phase")
        by_hand = verb("recognise", "Write down that a phase was rolled back by hand.")
        by_hand.add_argument("phase", type=int)
        for name, text in (("start", "Start a phase."), ("rollback", "Roll a phase back.")):
            sub = verb(name, text)
            sub.add_argument("phase", type=int)
            sub.add_argument("--wait", action="store_true", help="return when it has ended")
            if name == "start":
                add_user(sub)
                signing.add_digest(sub)
        verb("pause", "Pause what is running.")
        verb("resume", "Resume what is paused.")
        verb("cancel", "Cancel what is active.")
        verb("retry", "Go on with what failed or was cancelled.")
        again = verb(
            "verify", "Answer whether running a done phase again changes nothing.", as_json=True
        )
        again.add_argument("phase", type=int)
        verb("accept-files", "Accept SQL files that were edited after they were applied.")
        audit = verb("audit", "Compare old and new values of every row.")
        audit.add_argument("--sample", type=int, metavar="N", help="only N rows, picked at random")
        audit.add_argument(
            "--seed", type=int, metavar="S", help="the same seed picks the same rows"
        )
        audit.add_argument("--table", action="append", default=[], help="only this table")
        form = audit.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print JSON")
        form.add_argument("--csv", action="store_true", help="print the mismatching rows as CSV")
        blockers.add_verb(verb)
        selftests.add_verb(verb)
        signing.add_verbs(verb)
        snapshots.add_verbs(verb)
        rehearsing.add_verbs(verb)
        schema.add_verbs(verb)
        people.add_verb(verb)
        scaffolds.add_verb(verb)
        verb("verify-log", "Check the audit log's chain.", plan=False)
        verb("watchdog", "Bring back the work of workers that died; runs for ever.", plan=False)

    def handle(self, *, verb: str, **options: Any) -> None:
        action: Callable[..., int] = getattr(self, f"do_{verb.replace('-', '_')}")
        self.data: OutputWrapper = Exact(self.stdout)
        self.stdout, self.stderr = Escaped(self.stdout), Escaped(self.stderr)
        if problem := unreadable(options, paths=PATHS):
            self.stderr.write(problem)
            sys.exit(ERROR)
        status = DONE
        try:
            with reader_may_leave():
                status = action(**options)
        except (UnknownPlan, UnknownEnvironment, DatabaseError, psycopg.Error) as error:
            self.stderr.write(f"{error}".strip())
            status = ERROR
        except runner.Refused as refusal:
            self.stderr.write(str(refusal))
            status = NO
        sys.exit(status)

    def do_list(self, *, json: bool, **_: Any) -> int:
        found = [text_reports.of_status(status_of(rollout)) for rollout in all_rollouts()]
        if json:
            self._print_json(found)
        for one in [] if json else found:
            phase = "not begun" if one["phase"] is None else f"phase {one['phase']}"
            self.stdout.write(f"{one['plan']}  {one['environment']}  {phase}")
        return DONE

    def do_show(self, *, plan: str, env: str, json: bool, **_: Any) -> int:
        status = status_of(find_rollout(plan, env))
        if json:
            self._print_json(text_reports.of_status(status))
        else:
            self.stdout.write(text_reports.as_text(status))
        return DONE

    def do_sql(
        self,
        *,
        plan: str,
        env: str,
        phase: int | None,
        rollback: bool,
        write: str | None,
        **_: Any,
    ) -> int:
        if write is not None:
            return self._write_sql(plan, Path(write))
        status = status_of(find_rollout(plan, env))
        if phase is None:
            self.stderr.write("Name a phase, or a directory for all of them: --write DIR")
            return ERROR
        if not 0 <= phase < len(status.phases):
            self.stderr.write(
                f"There is no phase {phase}: phases are 0 to {len(status.phases) - 1}."
            )
            return ERROR
        self.data.write(text_reports.sql_of(status.plan, phase, rollback=rollback))
        return DONE

    def _write_sql(self, plan: str, directory: Path) -> int:
        try:
            files = write_files(plans.get(plan), directory)
        except (NotOurs, OSError) as problem:
            self.stderr.write(str(problem))
            return ERROR
        self.stdout.write(f"Wrote {len(files)} files into {directory}.")
        return DONE

    def do_accept_files(self, *, plan: str, env: str, **_: Any) -> int:
        for step in runner.accept_files(find_rollout(plan, env), actor=ShellActor()):
            self.stdout.write(f"Accepted: {step.step} of phase {step.run.phase}.")
        return DONE

    def do_recognise(self, *, plan: str, env: str, phase: int, **_: Any) -> int:
        if phase not in range(5):
            self.stderr.write(f"There is no phase {phase}: phases are 0 to 4.")
            return ERROR
        for run in runner.recognise(find_rollout(plan, env), phase, actor=ShellActor()):
            self.stdout.write(f"Phase {run.phase} is rolled back.")
        return DONE

    def do_start(
        self,
        *,
        plan: str,
        env: str,
        phase: int,
        wait: bool,
        user: str | None,
        digest: str | None,
        **_: Any,
    ) -> int:
        rollout = find_rollout(plan, env)
        actor = actor_of(user, "start_rollout", env)
        return self._begin(partial(runner.start, seen=digest), rollout, phase, wait, actor)

    def do_rollback(self, *, plan: str, env: str, phase: int, wait: bool, **_: Any) -> int:
        return self._begin(runner.roll_back, find_rollout(plan, env), phase, wait, ShellActor())

    def _begin(
        self,
        verb: Callable[..., PhaseRun],
        rollout: Rollout,
        phase: int,
        wait: bool,
        actor: Actor,
    ) -> int:
        if phase not in range(5):
            self.stderr.write(f"There is no phase {phase}: phases are 0 to 4.")
            return ERROR
        run = verb(rollout, phase, actor=actor, source="shell")
        if not wait:
            self.stdout.write(f"Queued. Watch it: manage.py rollout show {rollout.plan}")
            return DONE
        said = ""
        while run.active and run.state != RunState.PAUSED:
            message = liveness().message
            if message and message != said:
                self.stderr.write(message)
                said = message
            time.sleep(0.3)
            run.refresh_from_db()
        self.stdout.write(f"Phase {run.phase} {run.way}: {run.state}. {run.error}".strip())
        if pause := pauses.pause_of(run):
            self.stderr.write(pauses.as_text(pause))
        if run.error:
            self.stderr.write(run.advice)
        return DONE if run.state == RunState.DONE else NO

    def do_ask_approval(
        self, *, plan: str, env: str, phase: int, user: str | None, **_: Any
    ) -> int:
        return self._say(signing.ask(find_rollout(plan, env), phase, user))

    def do_approve(
        self, *, plan: str, env: str, phase: int, digest: str, user: str, **_: Any
    ) -> int:
        return self._say(signing.approve(find_rollout(plan, env), phase, digest, user))

    def do_withdraw(self, *, plan: str, env: str, phase: int, user: str, **_: Any) -> int:
        return self._say(signing.withdraw(find_rollout(plan, env), phase, user))

    def do_override(
        self, *, plan: str, env: str, phase: int, gate: str, reason: str, user: str, **_: Any
    ) -> int:
        return self._say(signing.override(find_rollout(plan, env), phase, gate, reason, user))

    def do_confirm(self, *, plan: str, env: str, phase: int, gate: str, user: str, **_: Any) -> int:
        return self._say(signing.confirm(find_rollout(plan, env), phase, gate, user))

    def do_schedule(
        self,
        *,
        plan: str,
        env: str,
        phase: int,
        at: str,
        digest: str | None,
        user: str | None,
        **_: Any,
    ) -> int:
        return self._say(signing.schedule(find_rollout(plan, env), phase, at, digest, user))

    def do_unschedule(self, *, plan: str, env: str, user: str | None, **_: Any) -> int:
        return self._say(signing.unschedule(find_rollout(plan, env), user))

    def do_checklist(self, *, plan: str, env: str, **_: Any) -> int:
        text, done = signing.checklist(find_rollout(plan, env))
        self.stdout.write(text)
        return DONE if done else NO

    def do_tick(
        self, *, plan: str, env: str, item: str, take_back: bool, user: str | None, **_: Any
    ) -> int:
        rollout = find_rollout(plan, env)
        return self._say(signing.tick(rollout, item, user, take_back=take_back))

    def do_probe(self, *, plan: str, env: str, **_: Any) -> int:
        text, passed = signing.probe(find_rollout(plan, env))
        self.stdout.write(text)
        return DONE if passed else NO

    def _say(self, text: str) -> int:
        self.stdout.write(text)
        return DONE

    def do_pause(self, *, plan: str, env: str, **_: Any) -> int:
        return self._verb(runner.pause, plan, env)

    def do_resume(self, *, plan: str, env: str, **_: Any) -> int:
        return self._verb(runner.resume, plan, env)

    def do_cancel(self, *, plan: str, env: str, **_: Any) -> int:
        return self._verb(runner.cancel, plan, env)

    def do_retry(self, *, plan: str, env: str, **_: Any) -> int:
        return self._verb(runner.retry, plan, env)

    def _verb(self, verb: Callable[..., PhaseRun], plan: str, env: str) -> int:
        run = verb(find_rollout(plan, env), actor=ShellActor(), source="shell")
        self.stdout.write(f"{run.title} is {run.state}.")
        return DONE

    def do_blockers(
        self, *, plan: str, env: str, json: bool, cancel: int | None, end: int | None, **_: Any
    ) -> int:
        rollout = find_rollout(plan, env)
        if cancel is not None:
            self.stdout.write(blockers.end(rollout, cancel, "cancel", ShellActor()))
        elif end is not None:
            self.stdout.write(blockers.end(rollout, end, "end", ShellActor()))
        else:
            self.stdout.write(blockers.list_of(rollout, as_json=json))
        return DONE

    def do_audit(
        self,
        *,
        plan: str,
        env: str,
        json: bool,
        csv: bool,
        sample: int | None,
        seed: int | None,
        table: list[str],
        **_: Any,
    ) -> int:
        rollout = find_rollout(plan, env)
        if seed is not None and sample is None:
            self.stderr.write("A seed picks rows of a sample. Say how many: --sample 10000.")
            return ERROR
        why_not = runner.why_not_audit(rollout, sample=sample, seed=seed, tables=table)
        if why_not:
            self.stderr.write(why_not)
            return ERROR
        report = audits.make_now(
            rollout,
            actor_name=ShellActor().get_username(),
            source="shell",
            sample=sample,
            seed=seed,
            tables=table,
        )
        if csv and report.message:
            self.stderr.write(report.message)
        # Whoever has seen enough of it still gets the answer.
        with reader_may_leave():
            if json:
                self._print_json(text_reports.of_audit(report))
            elif csv:
                for line in exports.as_csv(exports.rows_of(report)):
                    self.data.write(line, ending="")
            else:
                self._write_audit(report)
        answers = {AuditStatus.CLEAN: DONE, AuditStatus.MISMATCHED: NO}
        return answers.get(AuditStatus(report.status), ERROR)

    def _write_audit(self, report: AuditReport) -> None:
        self.stdout.write(
            f"{report.status}: {report.rows:,} rows, {report.matched:,} matched, "
            f"{report.mismatched:,} mismatched. {report.message}".strip()
        )
        for category, rows in sorted(report.categories.items()):
            self.stdout.write(f"  {category:<16} {rows:>14,}")
        for said in (against(report), statement_of(report)):
            if said:
                self.stdout.write(said)

    def do_audit_selftest(
        self, *, plan: str, env: str, rows: int, seed: int, json: bool, **_: Any
    ) -> int:
        rollout = find_rollout(plan, env)
        try:
            result = selftests.make(rollout, rows=rows, seed=seed)
        except Inconclusive as reason:
            self.stderr.write(str(reason))
            return ERROR
        self.stdout.write(selftests.as_json(rollout, result) if json else selftests.as_text(result))
        return DONE if result.passed else NO

    def do_snapshot(self, *, plan: str, env: str, json: bool, **_: Any) -> int:
        text, verified = snapshots.take(find_rollout(plan, env), ShellActor(), as_json=json)
        self.stdout.write(text)
        return DONE if verified else NO

    def do_snapshots(self, *, plan: str, env: str, json: bool, **_: Any) -> int:
        self.stdout.write(snapshots.list_of(find_rollout(plan, env), as_json=json))
        return DONE

    def do_restore(
        self,
        *,
        plan: str,
        env: str,
        snapshot: int,
        yes: bool,
        reason: str,
        user: str | None,
        **_: Any,
    ) -> int:
        rollout = find_rollout(plan, env)
        actor = actor_of(user, "restore_snapshot", env)
        text, done = snapshots.restore(rollout, snapshot, actor, replace=yes, reason=reason)
        self.stdout.write(text)
        return DONE if done else NO

    def do_stage(self, *, plan: str, env: str, snapshot: int | None, name: str, **_: Any) -> int:
        text, done = snapshots.stage(find_rollout(plan, env), snapshot, name, ShellActor())
        self.stdout.write(text)
        return DONE if done else NO

    def do_unstage(self, *, plan: str, env: str, **_: Any) -> int:
        self.stdout.write(snapshots.unstage(find_rollout(plan, env), ShellActor()))
        return DONE

    def do_rehearse(self, *, plan: str, env: str, json: bool, **options: Any) -> int:
        rollout = find_rollout(plan, env)
        if options["last"]:
            report = rehearsing.last(rollout)
        else:
            report = rehearsing.rehearse(
                rollout,
                ShellActor(),
                snapshot=options["snapshot"],
                keep=options["keep"],
                anyway=options["anyway"],
                wait=options["wait"],
                complain=self.stderr.write,
            )
        self.stdout.write(rehearsing.as_json(report) if json else rehearsing.as_text(report))
        return DONE if rehearsing.is_good(report) else NO

    def do_introspect(
        self, *, plan: str | None, env: str, against: str | None, json: bool, **_: Any
    ) -> int:
        return schema.introspect(
            self.stdout.write, plan=plan, env=env, against=against, as_json=json
        )

    def do_types(
        self, *, plan: str, env: str, check: str | None, phase: int | None, **_: Any
    ) -> int:
        return schema.types(
            self.stdout.write, self.stderr.write, plan=plan, env=env, check=check, phase=phase
        )

    def do_preflight(self, *, plan: str, env: str, phase: int, json: bool, **_: Any) -> int:
        return schema.before_phase(
            self.stdout.write, self.stderr.write, plan=plan, env=env, phase=phase, as_json=json
        )

    def do_readiness(self, *, plan: str, env: str, json: bool, **_: Any) -> int:
        return schema.readiness(self.stdout.write, plan=plan, env=env, as_json=json)

    def do_verify(self, *, plan: str, env: str, phase: int, json: bool, **_: Any) -> int:
        text, nothing = schema.second_run(plan=plan, env=env, phase=phase, as_json=json)
        self.stdout.write(text)
        return DONE if nothing else NO

    def do_who(self, *, env: str | None, json: bool, **_: Any) -> int:
        if env is not None:
            alias_of(env)
        self.stdout.write(people.who(env=env, as_json=json))
        return DONE

    def do_scaffold(
        self, *, env: str, app: str, table: str, columns: list[str], printed: bool, **_: Any
    ) -> int:
        return scaffolds.write_plan(
            self.data.write,
            self.stderr.write,
            env=env,
            app=app,
            table=table,
            columns=columns,
            printed=printed,
        )

    def do_verify_log(self, **_: Any) -> int:
        verdict = activity_log.verify()
        if verdict.broken is not None:
            self.stdout.write(
                f"Broken at entry {verdict.broken.pk} ({verdict.broken}): {verdict.reason}."
            )
            return NO
        self.stdout.write(f"The chain of {verdict.entries:,} entries holds. Head: {verdict.head}")
        return DONE

    def do_watchdog(self, **_: Any) -> int:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        Watchdog().run(stop=stop.wait)
        return DONE

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))

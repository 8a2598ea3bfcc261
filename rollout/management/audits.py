"""The shell's verb for audits."""

from typing import Any

from rollout import runner
from rollout.journal.audits import against
from rollout.logs.texts import counted
from rollout.management.actors import ShellActor
from rollout.management.outputs import reader_may_leave
from rollout.management.verbs import (
    BY_A_WORKER,
    DONE,
    ERROR,
    NO,
    AddVerb,
    Output,
    wait_while,
)
from rollout.models import AuditReport, AuditStatus, Rollout
from rollout.queries import exports, text_reports
from rollout.queries.sample_bounds import statement_of
from rollout.runner import audits


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "audit",
        audit,
        "Compare legacy and new values of every row, or of a random sample.",
        example="audit order-states --sample 10000",
        no="rows mismatch; 2 when the audit is inconclusive",
        waits=BY_A_WORKER,
    )
    sub.add_argument("--sample", type=int, metavar="N", help="compare N rows chosen at random")
    sub.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="seed of the random choice, to repeat a sample (needs --sample)",
    )
    sub.add_argument(
        "--table", action="append", default=[], help="audit only this table (may be repeated)"
    )
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    form.add_argument(
        "--csv", action="store_true", dest="as_csv", help="print mismatching rows as CSV"
    )


def audit(
    out: Output,
    rollout: Rollout,
    as_json: bool,
    as_csv: bool,
    sample: int | None,
    seed: int | None,
    table: list[str],
    wait: bool,
) -> int:
    if seed is not None and sample is None:
        return out.complain("--seed requires --sample. Add the number of rows: --sample 10000.")
    refusal = runner.refusal_to_audit(rollout, sample=sample, seed=seed, tables=table)
    if refusal:
        return out.complain(refusal)
    choice: dict[str, Any] = {"sample": sample, "seed": seed, "tables": table, "source": "shell"}
    actor = ShellActor()
    if wait:
        report = audits.start_audit(rollout, actor=actor, **choice)
        wait_while(lambda: report.status == AuditStatus.RUNNING, report, out)
    else:
        report = audits.make_now(rollout, actor_name=actor.get_username(), **choice)
    if as_csv and report.message:
        out.complain(report.message)
    # A closed pipe still gets the exit status.
    with reader_may_leave():
        if as_json:
            out.say_json(text_reports.of_audit(report))
        elif as_csv:
            for line in exports.as_csv(exports.rows_of(report)):
                out.data.write(line, ending="")
        else:
            _say(out, report)
    exits = {AuditStatus.CLEAN: DONE, AuditStatus.MISMATCHED: NO}
    return exits.get(AuditStatus(report.status), ERROR)


def _say(out: Output, report: AuditReport) -> None:
    out.say(
        f"{report.status}: {counted(report.rows, 'row')}, {report.matched:,} matched, "
        f"{report.mismatched:,} mismatched. {report.message}".strip()
    )
    for category, rows in sorted(report.categories.items()):
        out.say(f"  {category:<16} {rows:>14,}")
    for writes in report.conflicting_writes:
        out.say(
            f"{counted(writes['writes'], 'conflicting write')} to {writes['table']}."
            f"{writes['column']} by {writes['application'] or 'a session without a name'}, the "
            f"newest to row {','.join(writes['key'])}: legacy {writes['legacy']!r}, new "
            f"{writes['new']!r}."
        )
    for sentence in filter(None, (against(report), statement_of(report))):
        out.say(sentence)

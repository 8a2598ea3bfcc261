"""The shell's verb for repairs of rows that an audit found wrong."""

from typing import Any

from rollout import runner
from rollout.logs.texts import counted
from rollout.management.actors import actor_of, add_user
from rollout.management.runs import of_run, say_end
from rollout.management.verbs import DONE, NO, UNTIL_FINISHED, AddVerb, Output
from rollout.models import AuditReport, AuditStatus, Rollout, RunState
from rollout.runner.repairs import RepairPreview


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "repair",
        repair,
        "Repair the rows that the newest audit found wrong, or those of one kind. A full audit "
        "follows.",
        example="repair order-states --dry-run",
        no="the repair did not finish",
        as_json=True,
        waits=UNTIL_FINISHED,
    )
    sub.add_argument("--audit", type=int, metavar="N", help="an earlier audit")
    sub.add_argument("--table", default="", help="repair only this table")
    sub.add_argument("--column", default="", help="repair only this new column (needs --table)")
    sub.add_argument(
        "--category", default="", help="repair only rows of this category (needs --table)"
    )
    sub.add_argument(
        "--dry-run", action="store_true", help="say what it would do; nothing is changed"
    )
    add_user(sub)


def repair(
    out: Output,
    rollout: Rollout,
    audit: int | None,
    table: str,
    column: str,
    category: str,
    dry_run: bool,
    wait: bool,
    as_json: bool,
    user: str | None,
) -> int:
    if (column or category) and not table:
        return out.complain("--column and --category require --table. Name the table.")
    ended = AuditReport.objects.filter(rollout=rollout).exclude(status=AuditStatus.RUNNING)
    report = (ended if audit is None else ended.filter(pk=audit)).order_by("-pk").first()
    if report is None:
        missing = "No audit has finished" if audit is None else f"No finished audit {audit}"
        return out.complain(f"{missing}. Run: manage.py rollout audit {rollout.plan}")
    asked = {"columns": column, "categories": category}
    selection = {name: [value] for name, value in asked.items() if value}
    actor = actor_of(user, "repair_rows", rollout.environment)
    if dry_run:
        preview = runner.preview_repair(rollout, table, selection)
        return _say(out, preview, as_json)
    run = runner.repair(
        rollout, table=table, selection=selection, report=report, actor=actor, source="shell"
    )
    if wait:
        return say_end(out, run, RunState.DONE, as_json)
    if as_json:
        return out.say_json(of_run(run))
    return out.say(f"Queued. Follow progress: manage.py rollout show {rollout.plan}")


def _say(out: Output, preview: RepairPreview, as_json: bool) -> int:
    if as_json:
        return out.say_json(_as_data(preview), good=not preview.refusal)
    if preview.refusal:
        out.complain(preview.refusal)
        return NO
    out.say(preview.uncounted or f"It would write {counted(preview.rows, 'row')}.")
    for category, rows in sorted(preview.before.items()):
        out.say(f"  {category:<16} {rows:>14,}")
    if preview.left:
        out.say(f"{counted(preview.left, 'row')} would stay as they are. {preview.advice}")
    return DONE


def _as_data(preview: RepairPreview) -> dict[str, Any]:
    return {
        "rows": preview.rows,
        "categories": preview.before,
        "left": preview.left,
        "advice": preview.advice,
        "refusal": preview.refusal,
        "uncounted": preview.uncounted,
        "sql": preview.sql,
    }

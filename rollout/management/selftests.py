"""The shell's verb for the audit's self-test."""

from collections.abc import Sequence
from typing import Any

from django.utils.module_loading import import_string

from rollout.engine.selftest import ROWS, Score, SelftestResult, SelftestUndecided, run_selftest
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import Programs
from rollout.engine.target import Target
from rollout.journal.environments import target_of
from rollout.journal.snapshots import programs_for
from rollout.management.verbs import AddVerb, Output, names_of
from rollout.models import Rollout
from rollout.plan import plans


def add_verbs(add: AddVerb) -> None:
    own = add(
        "audit-selftest",
        selftest,
        "Verify audits by planting mismatches in a scratch copy.",
        example="audit-selftest order-states",
        no="an audit missed a planted mismatch; 2 when the self-test is inconclusive",
        as_json=True,
    )
    own.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help="copy at most N rows (%(default)s)"
    )
    own.add_argument(
        "--seed", type=int, default=1, metavar="S", help="seed of the random choice of rows"
    )


def selftest(out: Output, rollout: Rollout, rows: int, seed: int, as_json: bool) -> int:
    """Make a self-test. Raises psycopg.Error."""
    plan, target = plans.get(rollout.plan), target_of(rollout.environment)
    try:
        result = run_selftest(
            target,
            plan,
            function_of=import_string,
            rows=rows,
            seed=seed,
            programs=_programs(target),
        )
    except SelftestUndecided as reason:
        return out.complain(str(reason))
    if as_json:
        return out.say_json(_as_data(rollout, result), good=result.passed)
    return out.say(_as_text(result), good=result.passed)


def _programs(target: Target) -> Programs | None:
    """Programs that fit the server, if this machine has them."""
    try:
        with target.connect() as connection:
            return programs_for(connection)
    except SnapshotError:
        return None


def _as_data(rollout: Rollout, result: SelftestResult) -> dict[str, Any]:
    planted = sum(score.planted for score in result.sample)
    return {
        **names_of(rollout),
        "passed": result.passed,
        "rows": result.rows,
        "writes": result.writes,
        "seconds": round(result.seconds, 3),
        "full": _of_scores(result.full),
        "sampled": {
            **_of_scores(result.sample),
            "rows": result.sample_rows,
            "planted": result.sample_planted,
            "planted_in_sample": planted,
        },
        "not_planted": result.left_out,
    }


def _of_scores(scores: Sequence[Score]) -> dict[str, Any]:
    planted, detected = (sum(getattr(s, name) for s in scores) for name in ("planted", "found"))
    return {
        "recall": detected / planted if planted else None,
        "false_alarms": sum(score.false_alarms for score in scores),
        "categories": [
            {
                "category": score.category,
                "planted": score.planted,
                "found": score.found,
                "recall": score.recall,
                "false_alarms": score.false_alarms,
            }
            for score in scores
        ],
    }


def _as_text(result: SelftestResult) -> str:
    """A self-test for people."""
    copied = ", ".join(f"{rows:,} of {table}" for table, rows in result.rows.items())
    lines = [
        f"{'passed' if result.passed else 'FAILED'}: a copy of {copied}, {result.writes:,} "
        f"concurrent transactions, {result.seconds:.1f} s",
        "",
        *_table("full audit", result.full),
        "",
        *_table("sampled audit", result.sample),
        _coverage_of(result),
    ]
    if result.left_out:
        lines += ["", "Not planted:", *(f"  {reason}" for reason in result.left_out)]
    return "\n".join(lines)


def _table(title: str, scores: Sequence[Score]) -> list[str]:
    lines = [f"{title:<18} {'planted':>8} {'found':>8} {'recall':>8} {'false alarms':>13}"]
    for score in scores:
        recall = "" if score.recall is None else f"{score.recall:.0%}"
        lines.append(
            f"  {score.category:<16} {score.planted:>8,} {score.found:>8,} {recall:>8}"
            f" {score.false_alarms:>13,}"
        )
    return lines


def _coverage_of(result: SelftestResult) -> str:
    """How much of what was planted the sample covered and found."""
    detected = sum(score.found for score in result.sample)
    planted = sum(score.planted for score in result.sample)
    rows = sum(result.rows.values())
    share = detected / result.sample_planted if result.sample_planted else 0.0
    return (
        f"The sample covered {result.sample_rows:,} of {rows:,} rows and {planted:,} of "
        f"{result.sample_planted:,} planted mismatches. It found {detected:,} of them: {share:.0%} "
        "of all, about the share of rows that it covered."
    )

"""The shell's verb for values that do not convert."""

from pathlib import Path

from rollout import runner
from rollout.engine.value_decisions import CannotDecideValues, Decision, UnconvertibleValue
from rollout.logs.texts import counted
from rollout.management.actors import actor_of, add_user
from rollout.management.verbs import DONE, NO, AddVerb, Output
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.queries import value_csv
from rollout.queries.mapping_csv import InvalidMappingFile
from rollout.runner.value_decisions import shown

# People read so many; the CSV and the JSON have all.
_MAX_SHOWN = 50


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "unconvertible",
        unconvertible,
        "List the values that do not convert and the keys in conflict, or decide about them.",
        example="unconvertible offer-prices --set free --to 0",
        no="values wait for a decision",
        as_json=True,
    )
    sub.add_argument(
        "--column", metavar="TABLE.COLUMN", help="only values for this new column, of a conversion"
    )
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", dest="as_csv", help="print them as CSV")
    form.add_argument(
        "--apply", metavar="FILE", help="apply the columns becomes_… of an edited CSV"
    )
    form.add_argument("--set", metavar="VALUE", dest="value", help="decide about this value")
    sub.add_argument(
        "--to",
        metavar="DECISION",
        help=f"what it becomes: a value, “{value_csv.EMPTY}”, or “{value_csv.LEAVE}” to take the "
        "decision back",
    )
    add_user(sub)


def unconvertible(
    out: Output,
    rollout: Rollout,
    column: str | None,
    as_csv: bool,
    apply: str | None,
    value: str | None,
    to: str | None,
    as_json: bool,
    user: str | None,
) -> int:
    conversions = {
        f"{t.table.label}.{name}": t
        for t in plans.get(rollout.plan).reviewed_conversions
        for name in t.added
    }
    if column is not None and column not in conversions:
        known = ", ".join(conversions) or "none"
        return out.complain(f"The plan converts nothing to {column}. Its columns: {known}.")
    named = [conversions[column]] if column is not None else conversions.values()
    chosen = list({id(t): t for t in named}.values())
    if (as_csv or apply or value is not None) and len(chosen) != 1:
        return out.complain(f"Name one column: --column {' or '.join(conversions)}.")
    if (value is None) != (to is None):
        return out.complain("--set and --to go together. Give both.")
    if apply or value is not None:
        (conversion,) = chosen
        actor = actor_of(user, "review_mapping", rollout.environment)
        try:
            decisions = _decisions(rollout, conversion, apply, value, to or "")
            runner.decide_values(rollout, conversion, decisions, actor=actor, source="shell")
        except (OSError, InvalidMappingFile, CannotDecideValues) as error:
            return out.complain(f"Nothing was changed. {error}")
    if as_csv:
        (conversion,) = chosen
        for line in value_csv.lines_of(conversion, value_csv.values_now(rollout, conversion)):
            out.data.write(line, ending="")
        return DONE
    listed = [(t, value_csv.values_now(rollout, t)) for t in chosen]
    is_decided = not any(v.is_open for _, values in listed for v in values)
    if as_json:
        data = [_as_data(t, v) for t, values in listed for v in values]
        return out.say_json(data, good=is_decided)
    for conversion, values in listed:
        _say(out, conversion, values)
    return DONE if is_decided else NO


def _decisions(
    rollout: Rollout, conversion: Conversion, file: str | None, value: str | None, to: str
) -> dict[str, Decision]:
    """Raises OSError, InvalidMappingFile and Refused."""
    values = value_csv.values_now(rollout, conversion)
    if file:
        with Path(file).open("rb") as opened:
            data = opened.read(value_csv.MAX_BYTES + 1)
        return value_csv.decisions_in(data, conversion, values)
    if len(conversion.decides) > 1 and to not in (value_csv.EMPTY, value_csv.LEAVE):
        raise runner.Refused(
            f"{', '.join(conversion.decides)} are several columns. Decide by a file: --csv, then "
            "--apply FILE."
        )
    sources = [v.source for v in values if value in (v.text, v.key)]
    if not sources:
        raise runner.Refused(
            "No row has a value of this text that waits for a decision. List them."
        )
    decision = dict.fromkeys(conversion.decides, None if to == value_csv.EMPTY else to)
    return dict.fromkeys(sources, None if to == value_csv.LEAVE else decision)


def _say(out: Output, conversion: Conversion, values: list[UnconvertibleValue]) -> None:
    undecided = sum(v.is_open for v in values)
    what = f"{counted(len(values), 'value', 'do')} not convert"
    if isinstance(conversion, Extract):
        what = f"{counted(len(values), 'key', 'have')} several groups of values"
    out.say(f"{conversion.table.label}.{conversion.name}: {what}, {undecided:,} undecided")
    for v in values[:_MAX_SHOWN]:
        becomes = "undecided" if v.decided is None else f"becomes {shown(v.decided) or 'empty'}"
        # Once phase 4 is done, no row says why any more.
        why = f"(key {', '.join(v.examples) or '–'}: {v.reason})" if v.reason else ""
        out.say(f"  {v.text!r:<30} {counted(v.rows, 'row'):>14}  {becomes}  {why}".rstrip())
    if (more := len(values) - _MAX_SHOWN) > 0:
        out.say(f"  and {more:,} more: --csv")


def _as_data(conversion: Conversion, value: UnconvertibleValue) -> dict[str, object]:
    return {
        "table": conversion.table.label,
        "columns": list(conversion.added),
        "key": value.key,
        "legacy": value.legacy,
        "rows": value.rows,
        "examples": list(value.examples),
        "reason": value.reason,
        "decided": None if value.decided is None else dict(value.decided),
        "decided_by": value.reviewer,
    }

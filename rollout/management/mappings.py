"""The shell's verb for the mapping review."""

from pathlib import Path

from rollout import runner
from rollout.engine.mapping import Decision, Review
from rollout.management.actors import actor_of, add_user
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.translations import Lookup
from rollout.queries import mapping_csv
from rollout.queries.mapping_csv import InvalidMappingFile
from rollout.queries.mapping_reviews import confirmations, review_now


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "mapping",
        mapping,
        "Show how much of the mapping is reviewed, or review it.",
        example="mapping order-states --lookup shop_order.state --csv",
        no="values are open",
    )
    sub.add_argument(
        "--lookup", metavar="TABLE.COLUMN", help="only the values of this legacy column"
    )
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", dest="as_csv", help="print the mapping as CSV")
    form.add_argument("--apply", metavar="FILE", help="apply the column lookup of an edited CSV")
    sub.add_argument(
        "--confirm", action="store_true", help="confirm every value that is not reviewed"
    )
    add_user(sub)


def mapping(
    out: Output,
    rollout: Rollout,
    lookup: str | None,
    as_csv: bool,
    apply: str | None,
    confirm: bool,
    user: str | None,
) -> int:
    lookups = {f"{x.table.label}.{x.legacy}": x for x in plans.get(rollout.plan).lookups}
    if lookup is not None and lookup not in lookups:
        known = ", ".join(lookups) or "none"
        return out.complain(f"The plan has no lookup of {lookup}. Its lookups: {known}.")
    chosen = [lookups[lookup]] if lookup is not None else list(lookups.values())
    if (as_csv or apply) and len(chosen) != 1:
        return out.complain(f"Name one lookup: --lookup {' or '.join(lookups)}.")
    if as_csv:
        for line in mapping_csv.lines_of(review_now(rollout, chosen[0]).values):
            out.data.write(line, ending="")
        return DONE
    if apply or confirm:
        actor = actor_of(user, "review_mapping", rollout.environment)
        for column in chosen:
            try:
                decisions = _decisions(review_now(rollout, column), apply, confirm=confirm)
            except (OSError, InvalidMappingFile) as error:
                return out.complain(f"Nothing was changed. {error}")
            if decisions:
                runner.review_mapping(rollout, column, decisions, actor=actor, source="shell")
    statuses = [_say(out, column, review_now(rollout, column)) for column in chosen]
    return max(statuses, default=DONE)


def _decisions(review: Review, file: str | None, *, confirm: bool) -> dict[str, Decision]:
    """What a file decides, and the rest confirmed. Raises OSError and InvalidMappingFile."""
    decisions: dict[str, Decision] = {}
    if file:
        with Path(file).open("rb") as opened:
            data = opened.read(mapping_csv.MAX_BYTES + 1)
        decisions = mapping_csv.decisions_in(data, review.values)
    if confirm:
        decisions |= confirmations(
            value for value in review.open if not any(s.text in decisions for s in value.spellings)
        )
    return decisions


def _say(out: Output, lookup: Lookup, review: Review) -> int:
    state = "" if review.mapped else " (proposed; phase 2 maps them)"
    return out.say(
        f"{lookup.table.label}.{lookup.legacy}: {review.reviewed:,} of {review.reviewable:,} "
        f"values reviewed{state}",
        good=not review.open,
    )

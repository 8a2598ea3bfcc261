"""The category of a row in a conversion, as SQL: asked alike by audits and repairs."""

from collections.abc import Iterable, Mapping

from psycopg import sql

from rollout.plan.archived_values import ARCHIVED, KeptValues, written_text
from rollout.plan.conversions import Conversion
from rollout.plan.extraction_conflicts import is_undecided
from rollout.plan.extractions import Extract
from rollout.plan.refusals import refusal
from rollout.plan.value_decisions import careful_values, decided, decided_value


def conversion_state(
    conversion: Conversion,
    normal_forms: Mapping[str, sql.Composable] | None = None,
    plan: str | None = None,
) -> sql.Composable:
    """The category of row ``t``. With the name of its ``plan``, rows may not convert.

    Without it, a row that does not convert raises.
    """
    empty = all_null([sql.Identifier("t", column) for column in conversion.added])
    state = _state(conversion, conversion.values("t", normal_forms), _right(conversion, empty))
    if plan is None:
        return state
    by_decision: sql.Composable = sql.SQL("")
    if conversion.asks_people:
        chosen = {c: decided_value(conversion, plan, "t", c) for c in conversion.added}
        right = sql.SQL("CASE WHEN {} THEN 'unconvertible' ELSE {} END").format(
            empty, _right(conversion, empty)
        )
        by_decision = sql.SQL("WHEN {} IS NOT NULL THEN {} ").format(
            decided(conversion, plan, "t"), _state(conversion, chosen, right)
        )
    return sql.SQL("CASE WHEN {} IS NULL THEN {} {}WHEN {} THEN {} ELSE 'unexpected' END").format(
        refusal(conversion, plan, "t"),
        state,
        by_decision,
        empty,
        sql.Literal(_of_no_value(conversion)),
    )


def _state(
    conversion: Conversion, values: Mapping[str, sql.Composable], right: sql.Composable
) -> sql.Composable:
    """The category of a row that is to have those values."""
    return sql.SQL(
        "CASE WHEN {same} THEN {right} WHEN {empty} THEN 'missing'"
        " WHEN {none} THEN 'unexpected' ELSE 'computed_differs' END"
    ).format(
        same=sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier("t", column), value)
            for column, value in values.items()
        ),
        right=right,
        empty=all_null([sql.Identifier("t", column) for column in conversion.added]),
        none=all_null(values.values()),
    )


def _of_no_value(conversion: Conversion) -> str:
    """The category of a row that does not convert and has no new value."""
    if conversion.leaves_empty:
        return "unconvertible"
    return "undecided" if conversion.asks_people or conversion.refuses else "missing"


def archived_state(conversion: Conversion) -> sql.Composable:
    """The category of row ``t`` beside its row of the archive, once the legacy columns are gone.

    A row that was written since holds what its writer meant: nothing says otherwise any more.
    """
    kept = KeptValues(conversion)
    return sql.SQL(
        "CASE WHEN CASE WHEN {same} THEN {lossy} END THEN 'lossy' WHEN {empty} THEN 'both_null'"
        " ELSE 'ok' END"
    ).format(
        same=kept.means_the_same,
        lossy=sql.SQL(" OR ").join(
            sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {} COLLATE "C"').format(
                sql.Identifier(ARCHIVED, column), written_text(conversion, column)
            )
            for column in conversion.drops
        ),
        empty=all_null([sql.Identifier("t", column) for column in conversion.added]),
    )


def _right(conversion: Conversion, empty: sql.Composable) -> sql.Composable:
    """How a row is right whose new values are as the expressions say."""
    right = sql.SQL("CASE WHEN {} THEN 'both_null' ELSE 'ok' END").format(empty)
    if not conversion.drops:
        return right
    lossy: sql.Composable = sql.SQL("'lossy'")
    if isinstance(conversion, Extract) and conversion.is_reviewed:
        lossy = sql.SQL("CASE WHEN {} THEN 'undecided' ELSE 'lossy' END").format(
            is_undecided(conversion, "t")
        )
    return sql.SQL("CASE WHEN {} THEN {} WHEN {} THEN 'both_null' ELSE 'ok' END").format(
        sql.SQL(" OR ").join(
            sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {} COLLATE "C"').format(
                sql.Identifier("t", column), written_text(conversion, column)
            )
            for column in conversion.drops
        ),
        lossy,
        empty,
    )


def all_null(values: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(sql.SQL("{} IS NULL").format(value) for value in values)


def texts(values: Iterable[sql.Composable]) -> sql.Composable:
    """SQL of a value as a text; of several, as one."""
    listed = list(values)
    if len(listed) == 1:
        return sql.SQL("{}::text").format(listed[0])
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(listed))


def expected_text(
    conversion: Conversion,
    normal_forms: Mapping[str, sql.Composable] | None = None,
    plan: str | None = None,
    *,
    of: str = "",
) -> sql.Composable:
    """SQL of what the new columns are to hold, as people read it; why they cannot, in words.

    Of one column alone where it is named. With the name of its ``plan``, rows may not convert.
    """
    values = conversion.values("t", normal_forms)
    if plan is None:
        return texts([values[of]] if of else values.values())
    values = careful_values(conversion, plan, "t", normal_forms)
    known = refusal(conversion, plan, "t") + sql.SQL(" IS NULL")
    if conversion.asks_people:
        known += sql.SQL(" OR {} IS NOT NULL").format(decided(conversion, plan, "t"))
    return sql.SQL("CASE WHEN {known} THEN {value} ELSE 'no value: ' || {reason} END").format(
        known=known,
        value=texts([values[of]] if of else values.values()),
        reason=refusal(conversion, plan, "t"),
    )

"""The category of a row in a conversion, as SQL: asked alike by audits and repairs."""

from collections.abc import Iterable, Mapping

from psycopg import sql

from rollout.plan.archived_values import written_text
from rollout.plan.conversions import Conversion


def conversion_state(
    conversion: Conversion,
    normal_forms: Mapping[str, sql.Composable] | None = None,
    reason: sql.Composable | None = None,
) -> sql.Composable:
    """The category of row ``t``. ``reason`` is SQL of why it does not convert, null where it does.

    Without one, a row that does not convert raises.
    """
    values = conversion.values("t", normal_forms)
    columns = [sql.Identifier("t", column) for column in conversion.added]
    empty = all_null(columns)
    state = sql.SQL(
        "CASE WHEN {same} THEN {right} WHEN {empty} THEN 'missing'"
        " WHEN {none} THEN 'unexpected' ELSE 'computed_differs' END"
    ).format(
        same=sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier("t", column), value)
            for column, value in values.items()
        ),
        right=_right(conversion, empty),
        empty=empty,
        none=all_null(values.values()),
    )
    if reason is None:
        return state
    return sql.SQL("CASE WHEN {} IS NULL THEN {} WHEN {} THEN {} ELSE 'unexpected' END").format(
        reason, state, empty, sql.Literal(_of_no_value(conversion))
    )


def _of_no_value(conversion: Conversion) -> str:
    """The category of a row that does not convert and has no new value."""
    if conversion.leaves_empty:
        return "unconvertible"
    return "undecided" if conversion.drops else "missing"


def _right(conversion: Conversion, empty: sql.Composable) -> sql.Composable:
    """How a row is right whose new values are as the expressions say."""
    right = sql.SQL("CASE WHEN {} THEN 'both_null' ELSE 'ok' END").format(empty)
    if not conversion.drops:
        return right
    return sql.SQL("CASE WHEN {} THEN 'lossy' WHEN {} THEN 'both_null' ELSE 'ok' END").format(
        sql.SQL(" OR ").join(
            sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {} COLLATE "C"').format(
                sql.Identifier("t", column), written_text(conversion, column)
            )
            for column in conversion.drops
        ),
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
    reason: sql.Composable | None = None,
    *,
    of: str = "",
) -> sql.Composable:
    """SQL of what the new columns are to hold, as people read it; why they cannot, in words.

    Of one column alone where it is named.
    """
    values = conversion.values("t", normal_forms)
    value = texts([values[of]] if of else values.values())
    if reason is None:
        return value
    return sql.SQL(
        "CASE WHEN {reason} IS NULL THEN {value} ELSE 'no value: ' || {reason} END"
    ).format(reason=reason, value=value)

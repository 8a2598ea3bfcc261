"""The rows of a mapping review: made here, as templates take too long for the hundred of a page."""

from collections.abc import Iterable
from html import escape

from django.utils.safestring import SafeString, mark_safe

from rollout.console.badges import badge
from rollout.console.charts.cells import value as value_html
from rollout.console.formats import number, when
from rollout.console.mapping_forms import ValueRow
from rollout.engine.mapping import Spelling, Value
from rollout.journal.labels import reason_label
from rollout.logs.texts import counted
from rollout.plan.translations import Lookup

_NEW = badge("value", "new")
_HIDDEN = '<input type="hidden" name="{}" value="{}">'


def mapping_rows(rows: Iterable[ValueRow], lookup: Lookup, may_decide: bool) -> SafeString:
    """Each value with its rows, what it maps to, or the field for that, and why."""
    return mark_safe(  # noqa: S308
        "\n".join(_row(row, lookup, may_decide and row.may_change) for row in rows)
    )


def _row(row: ValueRow, lookup: Lookup, has_field: bool) -> str:
    value = row.value
    changed = ' class="changed"' if row.is_changed else ""
    becomes = _field(row, lookup) if has_field else _decided(value)
    return (
        f'<tr{changed}><td class="tick">{_tick(row) if has_field else ""}</td>'
        f'<th scope="row">{value_html(value.text)}{f" {_NEW}" if value.is_new else ""}'
        f"{_spellings(value)}</th>"
        f'<td class="number">{"–" if value.rows is None else number(value.rows)}</td>'
        f'<td class="becomes">{becomes}</td><td class="why">{_why(value)}</td></tr>'
    )


def _tick(row: ValueRow) -> str:
    label = escape(row.value.text)
    return f'<input type="checkbox" name="chosen" value="{row.number}" aria-label="Select {label}">'


def _spellings(value: Value) -> str:
    if len(value.spellings) < 2:
        return ""
    items = "".join(
        f'<li>{value_html(spelling.text)} <span class="small muted">'
        f"{_rows(spelling)}{escape(reason_label(spelling.why))}</span></li>"
        for spelling in value.spellings
    )
    return (
        f"<details><summary>{number(len(value.spellings))} spellings</summary>"
        f'<ul class="texts">{items}</ul></details>'
    )


def _rows(spelling: Spelling) -> str:
    return "" if spelling.rows is None else f"{counted(spelling.rows, 'row')}, "


def _field(row: ValueRow, lookup: Lookup) -> str:
    """The field of a value's lookup row, what the form carries beside it, and the help."""
    value, at = row.value, row.number
    hidden = {f"was-{at}": row.was, f"form-{at}": value.normal}
    if row.suggestion is not None:
        hidden[f"like-{at}"] = row.suggestion.name
    if row.as_written:
        hidden[f"as-written-{at}"] = row.as_written
    carried = "".join(_HIDDEN.format(name, escape(text)) for name, text in hidden.items())
    wrong = f' aria-invalid="true" aria-describedby="problem-{at}"' if row.problem else ""
    field = (
        f'<input type="text" name="name-{at}" value="{escape(row.typed)}" list="names"'
        f' maxlength="200" autocomplete="off" aria-label="{escape(value.text)} maps to"'
        f' placeholder="{"not mapped" if value.is_unmapped else "no value"}"{wrong}'
        f' data-was="{escape(row.was)}">'
    )
    problem = (
        f'<p class="errorlist" id="problem-{at}">{escape(row.problem)}</p>' if row.problem else ""
    )
    return f"{carried}{field}{problem}{_help(row, lookup)}{_suggestion(row)}"


def _help(row: ValueRow, lookup: Lookup) -> str:
    value = row.value
    if not value.is_unmapped:
        return ""
    if value.name is not None:
        text = "One of its spellings is not mapped: select the value, then “Confirm”."
    elif row.as_written:
        button = _link(row, row.as_written, "Use as written")
        text = f"Not mapped. {button}, enter another name, or choose “No value” below."
    else:
        text = (
            f"Longer than {number(lookup.longest)} characters: enter a shorter name, or choose "
            "“No value” below."
        )
    return f'<p class="small muted">{text}</p>'


def _suggestion(row: ValueRow) -> str:
    if row.suggestion is None:
        return ""
    name = row.suggestion.name
    button = _link(row, name, escape(name or "no value"), " data-accept")
    return f'<p class="small muted">Suggested: {button} ({escape(row.suggestion.why)})</p>'


def _link(row: ValueRow, fill: str, label: str, more: str = "") -> str:
    """A button that fills a row's field; ``label`` is HTML."""
    return (
        f'<button class="link" type="button"{more} data-fill="{escape(fill)}"'
        f' data-into="name-{row.number}">{label}</button>'
    )


def _decided(value: Value) -> str:
    if value.name is not None:
        return escape(value.name)
    return f'<span class="null">{"not mapped" if value.is_unmapped else "no value"}</span>'


def _why(value: Value) -> str:
    if not value.reviewer:
        return escape(reason_label(value.why))
    return f"Set by <strong>{escape(value.reviewer)}</strong>, {when(value.decided_at)}"

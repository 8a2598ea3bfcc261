"""Cells of which a page has hundreds: made here, as templates within templates take too long."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from html import escape

from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from rollout.console.characters import marked
from rollout.console.charts.crosstabs import Cell, Share
from rollout.console.charts.lines import Plot
from rollout.console.charts.marks import Mark
from rollout.console.charts.matrices import Box, Row
from rollout.console.formats import figure, number, times_of_day, zone
from rollout.logs.texts import counted

_NULL = mark_safe('<span class="null" title="no value">NULL</span>')
_EMPTY = mark_safe('<span class="null" title="a text of no characters">(empty string)</span>')
_NO_END = '<span class="muted">–</span>'
_ROW = '<tr><th scope="row" class="nowrap">{}</th><td class="number">{}</td></tr>'
_COLUMN = '<rect x="{}%" width="{}%" height="100%"><title>{}</title></rect>'
_CELLS = '</td><td class="number">'


def icon(name: str, classes: str = "") -> SafeString:
    """A symbol of ``icons.html``, for the eyes alone."""
    return format_html(
        '<svg class="icon{}" viewBox="0 0 16 16" aria-hidden="true">'
        '<use href="#icon-{}"></use></svg>',
        f" {classes}" if classes else "",
        name,
    )


_FAILED = icon("failed")


# An audit's page shows a value in its list, in its matrix and as a spelling.
@lru_cache(maxsize=2000)
def value(text: str | None) -> SafeString:
    """A value of the data, told apart from none and from an empty one."""
    if text is None:
        return _NULL
    return format_html('<code class="value">{}</code>', marked(text)) if text else _EMPTY


def options(names: Iterable[str]) -> SafeString:
    """What a field offers while somebody types: up to a thousand names."""
    return _joined(f'<option value="{escape(name)}"></option>' for name in names)


def category(share: Share) -> SafeString:
    """A category in words; its key is what a pointer on it shows."""
    if share.matched:
        return format_html('<span title="{}">{}</span>', share.name, share.label)
    return format_html(
        '<span class="badge square tone-bad" title="{}">{}{}</span>',
        share.name,
        _FAILED,
        share.label,
    )


def to_cells(query: QueryDict) -> str:
    """The address of a cell's rows on the page of that query, up to the cell's place."""
    others = query.copy()
    for name in ("cell", "column", "category", "after"):
        others.pop(name, None)
    return f"?{others.urlencode()}&cell=" if others else "?cell="


def pairs(cells: Iterable[Cell], to: str) -> SafeString:
    """Pairs of legacy and new value with their category; each leads to its rows."""
    to = escape(to)
    return _joined(
        # No arrow: it would read as a mapping of the one to the other.
        f'<li><span class="pair">{value(cell.legacy)} <span class="muted">has</span> '
        f"{value(cell.new)}</span>{category(cell.share)}"
        f'<a class="number" href="{to}{cell.place}#mismatches">'
        f"{counted(cell.rows, 'row')}</a></li>"
        for cell in cells
    )


def spellings(cells: Iterable[Cell], to: str) -> SafeString:
    """The legacy values of a new one with their rows; each leads to them."""
    to = escape(to)
    return _joined(
        f' <a title="{escape(cell.share.label)}" href="{to}{cell.place}#mismatches">'
        f'{value(cell.legacy)} <span class="muted number">{number(cell.rows)}</span></a>'
        for cell in cells
    )


def boxes(row: Row, has_others: bool, to: str) -> SafeString:
    """The cells of a row of the matrix; each leads to its rows."""
    to = escape(to)
    every = [*row.boxes, row.others] if has_others else row.boxes
    return _joined(_box(box, to) for box in every)


def _box(box: Box, to: str) -> str:
    if not box.rows or box.worst is None:
        return "<td></td>"
    share, address = box.worst.share, f"{to}{box.worst.place}#mismatches"
    if not box.bad:
        tone = "exact" if share.name == "ok" else "same"
        return f'<td class="number {tone}"><a href="{address}">{number(box.rows)}</a></td>'
    others = " and others" if len(box.cells) > 1 else ""
    return (
        f'<td class="number bad"><a href="{address}">{_FAILED}{number(box.rows)}</a>'
        f'<span class="what">{escape(share.label)}{others}</span></td>'
    )


def _joined(parts: Iterable[str]) -> SafeString:
    """Hundreds of parts, whose texts were escaped where they were put in."""
    return mark_safe("".join(parts))  # noqa: S308


def rows_of_numbers(numbers: Iterable[tuple[datetime, Sequence[float | None]]]) -> SafeString:
    """The rows of a table of numbers by time."""
    text = times_of_day()
    rows = ((text(at), _CELLS.join(map(figure, values))) for at, values in numbers)
    return _joined(_ROW.format(*row) for row in rows)


def columns(plot: Plot) -> SafeString:
    """Where a pointer finds the values of a plot: a title over the whole height for each moment."""
    here, suffix, text = zone(), plot.suffix, times_of_day()
    names = [escape(name) for name, _ in plot.lines]
    return _joined(
        _COLUMN.format(
            f"{column.x - column.width / 2:.2f}",
            f"{column.width:.2f}",
            "\n".join(
                [
                    f"{text(column.at)} {here}",
                    *(
                        f"{name} {figure(value)}{suffix}"
                        for name, value in zip(names, column.values, strict=True)
                        if value is not None
                    ),
                ]
            ),
        )
        for column in plot.columns
    )


def stretches(marks: Iterable[Mark]) -> SafeString:
    """What lasted, over the whole height of a plot: made once for all plots of a page."""
    return _joined(
        f'<g><title>{escape(m.label)}</title><rect class="mark {m.kind}" '
        f'x="{m.band.x}" y="0" width="{m.band.width}" height="100%"/></g>'
        for m in marks
        if not m.is_moment
    )


def moments(marks: Iterable[Mark]) -> SafeString:
    """What happened, as lines from the top of a plot to its bottom."""
    return _joined(
        f'<g><title>{escape(m.label)}</title><line class="moment {m.kind}" '
        f'x1="{m.band.x}" x2="{m.band.x}" y1="0" y2="100%"/></g>'
        for m in marks
        if m.is_moment
    )


def in_lane(marks: Iterable[Mark]) -> SafeString:
    """The marks of one kind in a row of their own: stretches, and signs of what was a moment."""
    here, text = zone(), times_of_day()
    return _joined(
        f"<g><title>{escape(m.label)}, {text(m.began)} {here}</title>"
        f"{_sign(m) if m.sign else _bar(m)}</g>"
        for m in marks
    )


def in_words(marks: Iterable[Mark]) -> str:
    """The same for those who do not see them."""
    text = times_of_day()
    return "; ".join(f"{mark.label}, {text(mark.began)}" for mark in marks)


def _sign(mark: Mark) -> str:
    return (
        f'<svg class="sign {mark.kind}" x="{mark.band.x}" y="50%" width="1" height="1" '
        f'overflow="visible"><use href="#icon-{mark.sign}" x="-8" y="-8" width="16" height="16"/>'
        "</svg>"
    )


def _bar(mark: Mark) -> str:
    return (
        f'<rect class="mark solid {mark.kind}" x="{mark.band.x}" y="3" '
        f'width="{mark.band.width}" height="16" rx="3"/>'
    )


def rows_of_marks(marks: Iterable[Mark]) -> SafeString:
    """The rows of the table of what the rollout did."""
    text = times_of_day()
    return _joined(
        f'<tr><th scope="row">{escape(m.label)}</th><td class="nowrap">{text(m.began)}</td>'
        f'<td class="nowrap">{_until(m, text)}</td></tr>'
        for m in marks
    )


def _until(mark: Mark, text: Callable[[datetime], str]) -> str:
    if mark.is_moment:
        return _NO_END
    return "running" if mark.ended is None else text(mark.ended)

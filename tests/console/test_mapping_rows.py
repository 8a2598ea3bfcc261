"""The rows of a mapping review: what people may do in each, and texts that stay texts."""

from datetime import UTC, datetime

import pytest

from rollout.console.mapping_forms import ValueRow
from rollout.console.mapping_rows import mapping_rows
from rollout.engine.mapping import Spelling, Value
from rollout.plan import plans
from rollout.queries.similar_names import Suggestion
from tests.console.journal import PLAN

HOSTILE = '"><img src=x onerror=alert(1)>'


def row(*, reviewer: str = "", why: str = "unmapped", name: str | None = None) -> ValueRow:
    spellings = [Spelling(HOSTILE, 1, why), Spelling(f"{HOSTILE} 2", None, why)]
    at = datetime(2026, 3, 1, tzinfo=UTC)
    value = Value(HOSTILE, spellings, name, HOSTILE, reviewer, at, is_new=True)
    suggestion = Suggestion(HOSTILE, "look-alike")
    return ValueRow(7, value, suggestion, HOSTILE, "", HOSTILE, problem=HOSTILE)


def html_of(*rows: ValueRow, may_decide: bool = True) -> str:
    return mapping_rows(rows, plans.get(PLAN).lookups[0], may_decide)


@pytest.mark.parametrize("may_decide", [True, False])
def test_a_text_is_a_text_wherever_it_stands(may_decide: bool) -> None:
    rows = (row(), row(reviewer=HOSTILE), row(why="case", name=HOSTILE))
    html = html_of(*rows, may_decide=may_decide)
    assert "&lt;img" in html
    assert "<img" not in html
    assert HOSTILE not in html


def test_a_row_has_a_field_for_who_may_decide_alone() -> None:
    html = html_of(row())
    assert 'name="name-7"' in html
    assert 'aria-invalid="true" aria-describedby="problem-7"' in html
    assert "data-accept" in html
    assert "Use as written" in html
    assert "2 spellings" in html
    html = html_of(row(), may_decide=False)
    assert "<input" not in html
    assert '<span class="null">not mapped</span>' in html


def test_a_blank_value_is_for_the_plan_to_decide() -> None:
    blank = ValueRow(1, Value("", [Spelling("", 3, "blank")]), None, "", "", "", "")
    html = html_of(blank)
    assert "<input" not in html
    assert '<span class="null">no value</span>' in html

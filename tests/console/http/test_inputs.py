"""No address and no field of a form breaks, whatever a browser sends: it is refused or found."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from django.test import Client, RequestFactory

from rollout import console
from rollout.console.http.inputs import MAX_FIELD_LENGTH
from rollout.console.mapping_forms import carried
from rollout.models import Rollout, SignOff
from tests.console import journal
from tests.console.http.test_access import SENT, WHO_MAY, in_parts, named, taken_back

DIGITS, BEYOND_BIGINT, DEEP = "9" * 6000, "9" * 20, "[" * 200_000
NO_TEXT = ("%00", "x%00y")
"""Percent-encoded NULs: no database takes them, so no view is asked."""
HOSTILE = (
    # Half of a character, and no UTF-8.
    *("%ED%A0%80", "%FF"),
    *map(
        quote,
        (
            *(DIGITS, BEYOND_BIGINT, "-1", "1e999", "nan", "4.9e-324", "٣"),
            *("2026-13-45", "0001-01-01T00:00+23:59", "%s%(x)s{x}", "[[1]]"),
        ),
    ),
)
"""Texts that views read, percent-encoded; none is what they want."""
DECISIONS = (DEEP, '[["\\ud800", "x", false]]', '[["\\u0000", "x", false]]', '{"a": 1}', "null")

DECIDED = (
    *("decisions", "form-0", "name-0", "was-0", "like-0", "as-written-0", "bulk", "chosen", "to"),
    *("similarity", "shown"),
)
POSTED: dict[str, tuple[str, ...]] = {
    "start": ("typed", "seen"),
    "roll-back": ("typed", "seen"),
    "schedule": ("at", "typed", "seen"),
    "approval": ("seen", "verdict", "comment"),
    "ask-for-approval": ("comment",),
    "override": ("reason",),
    "withdraw": ("reason", "next"),
    "retry": ("run", "typed", "next"),
    "cancel-run": ("run", "next"),
    "pause": ("next",),
    "blockers": ("how", "began_at"),
    "stage": ("snapshot", "name"),
    "snapshots": ("then_rehearse",),
    "restore": ("into", "replace", "reason"),
    "rehearsals": ("snapshot", "keep", "anyway"),
    "repair": ("finding", "table", "column", "category"),
    "preview": (*DECIDED, "edit"),
    # Its other fields are read as the preview's are.
    "apply": ("decisions", "name-0", "seen"),
    "decide": (
        *("decisions", "source-0", "value-0-0", "empty-0", "was-0", "chosen", "bulk", "to-0"),
        *("group-0", "frequent-0", "seen"),
    ),
    "pace": ("target_ms", "duty_percent", "rows_per_second", "workers", "commit_limit_ms"),
    "audits": ("sample", "seed"),
    "waive": ("reason", "until"),
    "shadow": ("percent",),
    "checklist": ("take_back",),
    "notifications": ("ticked",),
    "choose": ("ticked",),
    "theme": ("theme", "next"),
    "guide": ("guide", "next"),
    "confirm": ("password", "next"),
}
"""Fields of forms, by a part of the address that they are sent to."""
ASKED = (
    *("page", "title"),
    *("after", "order", "q", "show", "why", "count", "cell", "key", "column", "category", "state"),
    *(
        "rows",
        "text",
        "event",
        "actor",
        "plan",
        "environment",
        "phase",
        "since",
        "until",
        "rollout",
    ),
    *(
        "table",
        "kind",
        "within",
        "ended",
        "mode",
        "status",
        "recipient",
        "channel",
        "hours",
        "operation",
    ),
    *("against", "began_at", "at", "run", "finding", "next", "seen", "counted"),
)
"""What any page reads of its query."""
CONSOLE = Path(console.__file__).parent


def fields_of(pattern: str) -> tuple[str, ...]:
    parts = pattern.strip("/").split("/")
    return next((fields for part, fields in POSTED.items() if part in parts), ())


def assert_answered(browser: Client, method: str, address: str, body: str = "") -> int:
    """Send it, as a form where it has a body; the status that comes back is no server's error."""
    form = {"data": body, "content_type": "application/x-www-form-urlencoded"} if body else {}
    response = getattr(browser, method)(address, **form)
    assert response.status_code < 500, (method, address[:200], body[:200])
    return int(response.status_code)


OF_A_PHASE = re.compile(r"phases/\d/")
LISTS = [
    pattern
    for pattern in WHO_MAY
    if pattern.split("/")[-2:][0]
    in {"", "log", "notifications", "confirm", "{audit}", "repair", "schema", "jobs", "audits"}
    | {"snapshots", "rehearsals", "monitoring", "{text}", "start", "retry", "cancel-run", "{pid}"}
]
"""Addresses whose pages read their query."""


def named_wrongly(pattern: str, known: dict[str, object], value: str) -> Iterator[str]:
    """The address with a value in place of each thing that it names, one after the other."""
    pattern = pattern.replace("{rollout}", "{plan}/{env}")
    pattern = pattern.replace("{text}", "{table}/{column}")
    pattern = OF_A_PHASE.sub("phases/{phase}/", pattern)
    right = {
        **known,
        "plan": journal.PLAN,
        "env": "production",
        "phase": 1,
        "table": "properties",
        "column": "type",
    }
    for part in re.findall(r"{(\w+)}", pattern):
        yield "/rollout/" + pattern.format(**{**right, part: value})


TRIED = 3
"""So many values each part of an address and each field is sent. Which ones changes with its place,
so that each value comes to every kind of them."""


def share_of(values: Sequence[str], place: int) -> list[str]:
    """A few of the values, others at each place; all of them within a few places."""
    return [values[(place * TRIED + n) % len(values)] for n in range(min(TRIED, len(values)))]


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@in_parts(p for p in WHO_MAY if "{" in p)
def test_no_address_breaks_whatever_it_names(
    rollout: Rollout, lead: Client, patterns: list[str]
) -> None:
    known, place = named(rollout), 0
    for pattern in patterns:
        for part in range(len(list(named_wrongly(pattern, known, "")))):
            for value in share_of((*NO_TEXT, *HOSTILE), place):
                assert_answered(lead, "get", list(named_wrongly(pattern, known, value))[part])
            place += 1


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@in_parts(LISTS)
def test_no_page_breaks_whatever_its_query_says(
    rollout: Rollout, lead: Client, patterns: list[str]
) -> None:
    known = named(rollout)
    for pattern in patterns:
        address = "/rollout/" + pattern.format(**known)
        # All fields with one value; the next page has others.
        for value in share_of(HOSTILE, LISTS.index(pattern)):
            assert_answered(lead, "get", f"{address}?{'&'.join(f'{n}={value}' for n in ASKED)}")
        assert lead.get(f"{address}?q=%00").status_code == 400


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@in_parts(p for p in WHO_MAY if fields_of(p))
def test_no_field_of_a_form_breaks_what_it_is_sent_to(
    rollout: Rollout, lead: Client, patterns: list[str]
) -> None:
    known, place = named(rollout), 0
    for pattern in patterns:
        address = "/rollout/" + pattern.format(**known)
        for field in fields_of(pattern):
            others = "&".join(f"{name}={quote(v)}" for name, v in SENT.items() if name != field)
            values = DECISIONS if field == "decisions" else share_of(HOSTILE, place)
            place += 1
            for value in values:
                # Who has no password is logged out by the page that asks for one.
                with taken_back(lead):
                    assert_answered(lead, "post", address, f"{others}&{field}={value}")
            refused = assert_answered(lead, "post", address, f"{others}&{field}=x%00")
            assert refused in (400, 405), address


def test_each_value_comes_to_every_kind_of_address_page_and_field() -> None:
    for values, places in (((*NO_TEXT, *HOSTILE), 20), (HOSTILE, len(LISTS))):
        assert {value for place in range(places) for value in share_of(values, place)} == set(
            values
        )


def test_every_field_that_a_view_reads_is_tried() -> None:
    source = "\n".join(path.read_text() for path in CONSOLE.glob("**/*.py"))
    posted = set(re.findall(r'POST(?:\.get\(|\.getlist\(|\[)"(\w+)"', source))
    posted |= set(re.findall(r'form\.get(?:list)?\(f?"([\w-]+?)(?:\{number\})?"', source))
    tried = {re.sub(r"\d+$", "", field) for fields in POSTED.values() for field in fields}
    assert posted - tried == set()
    asked = set(re.findall(r'GET(?:\.get\(|\.getlist\(|\[)"(\w+)"', source))
    asked |= set(re.findall(r"^    (\w+) = (?:forms\.|choice\()", source, re.MULTILINE))
    assert asked - set(ASKED) - tried == set()


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("phases/1/override/checklist-complete/", {"reason": "x" * 1_000_000}),
        ("phases/1/override/checklist-complete/", {"reason": "for a reason\x00"}),
        ("stage/", {"name": "x" * (MAX_FIELD_LENGTH + 1)}),
        ("phases/3/schedule/", {"at": "x" * (MAX_FIELD_LENGTH + 1)}),
    ],
)
def test_a_field_that_is_no_text_or_is_too_long_is_refused(
    rollout: Rollout, lead: Client, path: str, form: dict[str, str]
) -> None:
    journal.ran(rollout, 0)
    answer = lead.post(f"{journal.PAGE}{path}", form)
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "Nothing was changed." in text
    assert len(text) < 10_000
    assert not SignOff.objects.exists()


def test_a_reason_that_is_too_long_comes_back_to_be_shortened(
    rollout: Rollout, lead: Client
) -> None:
    journal.ran(rollout, 0)
    form = {"reason": "because " * 200}
    answer = lead.post(f"{journal.PAGE}phases/1/override/checklist-complete/", form)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "The reason has 1,599 characters. Shorten it to 1,000." in text
    assert form["reason"] in text
    assert not SignOff.objects.exists()


@pytest.mark.parametrize("text", [DEEP, '[["\\ud800", "x", false]]', '[["a", "\\u0000", false]]'])
def test_decisions_that_no_page_carries_decide_nothing(text: str) -> None:
    assert carried(text) == {}
    assert carried(json.dumps([["a", "b", False]])) != {}


def test_a_form_that_says_it_is_utf_8_is_read(rollout: Rollout, lead: Client) -> None:
    content_type = "application/x-www-form-urlencoded; charset=UTF-8"
    address = f"{journal.PAGE}pause/"
    assert lead.post(address, "next=/", content_type=content_type).status_code == 302


def test_the_page_of_a_request_that_cannot_be_read_reads_it_no_more() -> None:
    from rollout.console.http.errors import bad_request, server_error

    content_type = "application/x-www-form-urlencoded; charset=utf-16"
    request = RequestFactory().post("/", b"a=b", content_type=content_type)
    assert bad_request(request, ValueError()).status_code == 400
    assert server_error(request).status_code == 500

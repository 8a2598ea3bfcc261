from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from django.utils.safestring import SafeString

from rollout.console import formats
from rollout.models import PhaseRun, StepRun
from rollout.queries.progress import TimeLeft

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234567, "1,234,567"), (63_693.7, "63,694"), (None, "–")]
)
def test_numbers_have_separators(value: float | None, shown: str) -> None:
    assert formats.number(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, None),
        ("", ""),
        ("12.00", "12.00"),
        ('invalid input syntax for type date: "x"', 'invalid input syntax for type date: "x"'),
        (
            'no value: invalid input syntax for type numeric: "<1.2m"',
            "no value: “<1.2m” is not a number",
        ),
        ("no value: date out of range", "no value: date out of range"),
        (
            "new is '7.00', and has no value: invalid input syntax for type date: \"soon\"",
            "new is '7.00', and has no value: “soon” is not a date",
        ),
    ],
)
def test_only_a_reason_for_no_value_is_put_into_plain_words(
    text: str | None, shown: str | None
) -> None:
    assert formats.why_no_value(text) == shown


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0, "0%"), (0.00001, "0.1%"), (0.4321, "43.2%"), (0.9999, "99.9%"), (1, "100%")],
)
def test_only_all_is_a_hundred_percent(fraction: float, shown: str) -> None:
    assert formats.percent(fraction) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (-1, "0 ms"),
        (0.0844, "84 ms"),
        (4.23, "4.2 s"),
        (5.0, "5 s"),
        (12.4, "12 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (300, "5 min"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, shown: str) -> None:
    assert formats.duration(seconds) == shown
    if seconds is not None:
        assert formats.duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "just now"),
        (4, "just now"),
        (42, "42 s ago"),
        (200, "3 min ago"),
        (7300, "2 h ago"),
        (400_000, "4 d ago"),
    ],
)
def test_a_moment_is_given_in_its_largest_unit(seconds: int, shown: str) -> None:
    assert formats.ago(NOON - timedelta(seconds=seconds), now=NOON) == shown


@pytest.mark.parametrize(
    ("shortest", "longest", "shown"),
    [
        (2.1, 2.2, "about 2 s"),
        (0.2, 0.3, "about 1 s"),
        (4, 9, "about 4–9 s"),
        (0.4, 9, "about 1–9 s"),
        (31, 33, "about 30 s"),
        (33, 58, "about 30–60 s"),
        (30, 350, "about 30 s–6 min"),
        (240, 350, "about 4–6 min"),
        (300, 310, "about 5 min"),
        (1200, 10_000, "about 20 min–3 h"),
        (5400, 9000, "about 1.5–2.5 h"),
        (40, None, "at least 40 s"),
    ],
)
def test_the_time_left_is_no_more_exact_than_it_is_known(
    shortest: float, longest: float | None, shown: str
) -> None:
    assert formats.duration_range(TimeLeft(shortest, longest)) == shown


def test_an_unknown_time_is_left_out() -> None:
    assert formats.duration_range(None) == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_310_000_000, "1.3 GB"),
        (560_400_000, "560 MB"),
        (999_960, "1.0 MB"),
        (9.96e6, "10 MB"),
    ],
)
def test_sizes_have_two_or_three_digits(value: float | None, shown: str) -> None:
    assert formats.byte_size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "no change"),
        (1e-13, "no change"),
        (6.41, "+6.41 ms"),
        (-6.41, "−6.41 ms"),
    ],
)
def test_a_difference_of_times_has_its_sign_or_is_none(value: float | None, shown: str) -> None:
    assert formats.signed_milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(300_106, "300,000"), (4, "4"), (0, "0"), (None, "–"), (1_234, "1,230")]
)
def test_an_estimate_has_three_digits(value: float | None, shown: str) -> None:
    assert formats.roughly(value) == shown


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("a lock on properties", "Waiting for a lock on properties."),
        (
            "throttled to 40% of full speed: PID 7 is old.",
            "Throttled to 40% of full speed: PID 7 is old.",
        ),
        ("Replication slot x is losing WAL.", "Paused: Replication slot x is losing WAL."),
    ],
)
def test_the_reason_of_a_wait_is_a_sentence(reason: str, sentence: str) -> None:
    assert formats.waiting(reason) == sentence


def test_times_carry_their_zone_and_another_day_its_date() -> None:
    assert formats.clock(NOON, now=NOON) == (
        '<time datetime="2026-03-01T12:00:00.000+00:00" title="2026-03-01 12:00:00 UTC">'
        "12:00:00 UTC</time>"
    )
    assert ">1 Mar 2026, 12:00:00 UTC<" in formats.clock(NOON, now=NOON + timedelta(days=1))
    assert formats.clock(None) == "–"
    assert formats.when(NOON, now=NOON).endswith(
        '</time>, <span data-ago="2026-03-01T12:00:00.000+00:00">just now</span>'
    )


@pytest.mark.parametrize(
    ("name", "shown"), [("Europe/Berlin", "13:00:00 CET"), ("America/Sao_Paulo", "9:00:00 UTC-03")]
)
def test_a_time_is_in_the_readers_zone_and_its_title_in_utc(name: str, shown: str) -> None:
    with timezone.override(ZoneInfo(name)):
        text = formats.clock(NOON, now=NOON)
    assert f"{shown}</time>" in text
    assert 'title="2026-03-01 12:00:00 UTC"' in text


def test_moments_in_a_sentence_are_given_in_the_readers_zone() -> None:
    with timezone.override("Asia/Tokyo"):
        text = formats.local_times("Wait <b> until 2020-11-25 20:32:59 UTC, then go.")
    assert text.startswith("Wait &lt;b&gt; until <time")
    assert ">26 Nov 2020, 05:32:59 JST</time>, then go." in text
    assert 'title="2020-11-25 20:32:59 UTC"' in text


def test_moments_that_were_kept_to_the_minute_get_no_seconds() -> None:
    with timezone.override("Asia/Tokyo"):
        text = formats.local_times("Until 2020-11-25 20:32 UTC.")
    assert ">26 Nov 2020, 05:32 JST</time>." in text
    assert 'title="2020-11-25 20:32 UTC"' in text
    assert 'datetime="2020-11-25T20:32+00:00"' in text


def test_markup_beside_a_moment_stays_what_it_is() -> None:
    assert formats.local_times(SafeString("<b>At</b> once")) == "<b>At</b> once"
    assert formats.local_times("<b>At</b> once") == "&lt;b&gt;At&lt;/b&gt; once"
    assert formats.local_times(None) == ""


def test_a_run_and_its_steps_took_the_time_without_the_pauses() -> None:
    pause = [(NOON + timedelta(seconds=seconds)).isoformat() for seconds in (10, 28)]
    times = {"started_at": NOON, "finished_at": NOON + timedelta(seconds=81)}
    run = PhaseRun(halts=[pause], **times)
    assert formats.took(run) == formats.took(StepRun(run=run, **times)) == "1 min 3 s"
    assert formats.took(PhaseRun(started_at=NOON)) == "–"

"""What a rule makes of numbers, one window at a time and several together."""

import pytest

from rollout.plan.guardrails import ALWAYS, STANDARD, Guardrail, WindowVerdict

SLOW = Guardrail(id="slow", statistic="p95", times=2.0, above=50.0, action="pause")
ERRORS = Guardrail(id="errors", statistic="error_rate", above=0.05, at_most=0.2, action="pause")


@pytest.mark.parametrize(
    ("rule", "value", "calls", "usual", "verdict"),
    [
        # Both relative bounds must be passed: a fast operation may double.
        (SLOW, 25.0, 50, 10.0, "kept"),
        (SLOW, 61.0, 50, 10.0, "broken"),
        (SLOW, 350.0, 50, 200.0, "kept"),
        (SLOW, 401.0, 50, 200.0, "broken"),
        # Without a baseline a relative bound says nothing; an absolute one does.
        (SLOW, 9000.0, 50, None, "inconclusive"),
        (ERRORS, 0.3, 50, None, "broken"),
        (ERRORS, 0.1, 50, None, "kept"),
        (ERRORS, 0.1, 50, 0.0, "broken"),
        # An application that fails often fails at most absolutely so often.
        (ERRORS, 0.21, 50, 0.5, "broken"),
        (SLOW, 9000.0, 9, 10.0, "inconclusive"),
        (SLOW, None, 50, 10.0, "inconclusive"),
    ],
)
def test_a_window_breaks_a_rule_above_its_bounds(
    rule: Guardrail, value: float | None, calls: int, usual: float | None, verdict: str
) -> None:
    assert rule.verdict(value, calls=calls, usual=usual) == verdict


KEPT, BROKEN, UNKNOWN = "kept", "broken", "inconclusive"


@pytest.mark.parametrize(
    ("verdicts", "acting", "together"),
    [
        ([KEPT] * 5, False, KEPT),
        ([KEPT, KEPT, KEPT, BROKEN, BROKEN], False, KEPT),
        ([KEPT, BROKEN, KEPT, BROKEN, BROKEN], False, BROKEN),
        ([UNKNOWN, UNKNOWN, BROKEN, BROKEN, BROKEN], False, BROKEN),
        ([UNKNOWN] * 5, False, UNKNOWN),
        ([UNKNOWN, UNKNOWN, UNKNOWN, KEPT, KEPT], False, UNKNOWN),
        # What acts continues until no window is broken any more: it does not flutter.
        ([KEPT, KEPT, KEPT, KEPT, BROKEN], True, BROKEN),
        ([KEPT] * 5, True, KEPT),
        ([UNKNOWN] * 5, True, UNKNOWN),
        ([], False, UNKNOWN),
    ],
)
def test_three_of_five_windows_decide(verdicts: list[str], acting: bool, together: str) -> None:
    assert SLOW.together(verdicts, acting=acting) == together  # type: ignore[arg-type]


def test_a_rule_reads_as_a_sentence() -> None:
    assert SLOW.sentence == (
        "p95 of all operations above 2 times the baseline and the baseline plus 50 ms "
        "for 3 of 5 windows of 3 s"
    )
    assert "20.0%" in ERRORS.sentence
    rules = (*STANDARD, *ALWAYS)
    assert len({(rule.sentence, rule.action) for rule in rules}) == len(rules)


@pytest.mark.parametrize(
    ("verdicts", "trend"),
    [
        ("kkkkb", ("worsening", "again 1 of 5 windows above its limit")),
        ("kkkbb", ("worsening", "again 2 of 5 windows above its limit")),
        ("kkbbb", ("", "")),
        ("kbbbk", ("recovering", "1 of 5 windows within its limit")),
        ("bbkkk", ("recovering", "3 of 5 windows within its limit")),
        ("bbbk?", ("recovering", "1 of 5 windows within its limit")),
        ("bkkb?", ("", "")),
        ("kkkkk", ("", "")),
    ],
)
def test_a_rule_recovers_by_its_newest_windows_and_gets_worse_otherwise(
    verdicts: str, trend: tuple[str, str]
) -> None:
    words: dict[str, WindowVerdict] = {"k": "kept", "b": "broken", "?": "inconclusive"}
    assert SLOW.trend([words[letter] for letter in verdicts]) == trend

"""What a random sample proves: an upper bound, never "there are none".

Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 26 (1934), one-sided.
"""

import math

from rollout.models import AuditMode, AuditReport

CONFIDENCE = 0.95
_STEPS = 60


def upper_bound(mismatched: int, examined: int, confidence: float = CONFIDENCE) -> float:
    """The largest share of all rows that such a sample is still compatible with.

    It is the share at which so few mismatches would come up only with probability
    1 - ``confidence``. With none in n that is 1 - (1 - confidence) ** (1 / n). Of a population of
    finite size it errs upwards.
    """
    if not 0 <= mismatched <= examined:
        raise ValueError(f"{mismatched} of {examined} rows cannot mismatch.")
    if mismatched == examined:
        return 1.0
    low, high = mismatched / examined, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if at_most(mismatched, examined, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(successes: int, trials: int, share: float) -> float:
    """The probability of at most ``successes``: the binomial distribution function."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(successes >= trials)
    logs = [
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(successes + 1)
    ]
    highest = max(logs)
    return min(1.0, math.exp(highest) * math.fsum(math.exp(log - highest) for log in logs))


def confidence_of_sample(number: int, *, overall: float = CONFIDENCE) -> float:
    """The confidence of the n-th scheduled sample, counted from 1.

    The risks 0.05 / (n (n + 1)) of all looks add up to 0.05 however many there are (a union bound,
    with the telescoping series as spending function), so the bounds of all of them hold together.
    """
    return 1 - (1 - overall) / (number * (number + 1))


def statement_of(report: AuditReport) -> str:
    """What a finished report proves, in plain words."""
    if report.mode != AuditMode.SAMPLED or report.upper_rate is None or not report.population:
        return ""
    confidence = (report.confidence or CONFIDENCE) * 100
    rows = math.floor(report.upper_rate * report.population)
    looks = ", together with all earlier scheduled samples" if report.scheduled else ""
    caveat = "" if report.mismatched else " This does not prove that there are none."
    return (
        f"Examined {report.rows:,} of {report.population:,} rows, uniformly at random, seed "
        f"{report.seed}. {report.mismatched:,} mismatched. {confidence:.4g} % one-sided "
        f"upper bound: {report.upper_rate:.4%} (at most {rows:,} rows){looks}.{caveat}"
    )

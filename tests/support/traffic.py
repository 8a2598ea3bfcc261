"""Traffic for rehearsals under test."""

from collections.abc import Callable

from properties.rehearsal import traffic


def failing(*, using: str, seed: int) -> Callable[[], None]:
    """What people do on the property pages; every fifth time it fails."""
    flow = traffic(using=using, seed=seed)
    calls = 0

    def operation() -> None:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise ValueError("The application is broken.")
        flow()

    return operation

"""Traffic for rehearsals under test."""

from collections.abc import Callable


def failing(*, using: str, seed: int) -> Callable[[], None]:
    """Works once, and fails from then on."""
    calls = 0

    def operation() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ValueError("The application is broken.")

    return operation

"""What the engine is given where the benchmark calls it without a journal."""

from rollout.engine.target import Connection


class _Undisturbed:
    """The control of work that nobody pauses."""

    def check(self) -> None:
        """Nobody asks it to stop."""

    def waiting(self, reason: str) -> None:
        """Nobody is told."""

    def using(self, connection: Connection) -> None:
        """Nobody cancels a statement."""


class _Benchmark:
    """Who starts the phases."""

    def get_username(self) -> str:
        return "benchmark"


UNDISTURBED = _Undisturbed()
BENCHMARK = _Benchmark()

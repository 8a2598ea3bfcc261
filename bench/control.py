"""Who the benchmark is to the runner."""


class _Benchmark:
    """Who starts the phases."""

    def get_username(self) -> str:
        return "benchmark"


BENCHMARK = _Benchmark()

"""What the tests of an application use."""

from collections.abc import Iterable

from django.test.utils import TestContextDecorator

from rollout import modes
from rollout.plan.switch import ReadMode, WriteMode


class override_modes(TestContextDecorator):
    """Let ``current_modes`` give other modes for a plan, whatever the database has.

    A context manager, or a decorator of a test or a TestCase: ``@override_modes("order-states",
    read="legacy", write="both")``.
    """

    def __init__(
        self,
        plan: str,
        *,
        read: ReadMode = "new",
        write: WriteMode = "new",
        features: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self._plan = plan
        self._modes = modes.Modes(read, write, frozenset(features))

    def enable(self) -> None:
        self._before = modes.overridden.get(self._plan)
        modes.overridden[self._plan] = self._modes

    def disable(self) -> None:
        if self._before is None:
            del modes.overridden[self._plan]
        else:
            modes.overridden[self._plan] = self._before

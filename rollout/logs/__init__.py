"""What every line of a process's log says besides its message: which rollout, phase, job, request.

``bound`` is entered where work begins; whatever logs inside, a library included, needs no care.
"""

from rollout.logs.context import Context, JsonFormatter, LineFormatter, bound, current
from rollout.logs.middleware import RequestId

__all__ = ["Context", "JsonFormatter", "LineFormatter", "RequestId", "bound", "current"]

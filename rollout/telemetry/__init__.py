"""How long the application's operations take, and which fail: measured where they happen.

An application names its operations, ``@operation("search")`` on a view or ``with
operation("search"):`` around a piece of work. Each process adds them up and writes them to the
journal every few seconds.
"""

from rollout.telemetry.operations import leave_out, operation, using_modes

__all__ = ["leave_out", "operation", "using_modes"]

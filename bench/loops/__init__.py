"""The loops, by the names that the report gives them."""

from bench.loops.bare import bare
from bench.loops.base import Loop
from bench.loops.bulk_update import bulk_update
from bench.loops.keyset import keyset
from bench.loops.rollout import whole_path
from bench.loops.single_update import single_update
from bench.loops.table_rewrite import table_rewrite
from bench.loops.trigger_touch import trigger_touch

LOOPS: dict[str, Loop] = {
    "rollout": whole_path,
    "single_update": single_update,
    "keyset": keyset,
    "trigger_touch": trigger_touch,
    "bulk_update": bulk_update,
    "table_rewrite": table_rewrite,
}
__all__ = ["LOOPS", "bare"]

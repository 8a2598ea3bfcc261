"""Where a lane continues after a batch: the next stripe or range, and how long that is."""

from dataclasses import replace

from rollout.engine.lanes import Lane

MAX_RANGE_BLOCKS = 8192


def next_position(
    lane: Lane, stripes: int, range_end: int, elapsed: float, *, target_seconds: float
) -> Lane:
    """The lane after a batch: the next stripe of its range, or the first of the next range.

    The next range is as long as the slowest stripe of this one allows: fast down, slow up.
    """
    size = range_end - lane.next_block
    factor = min(1.3, max(0.25, target_seconds / elapsed))
    fitting = max(1, min(MAX_RANGE_BLOCKS, int(size * factor) + (factor > 1)))
    blocks = fitting if lane.stripe == 0 else min(lane.range_blocks, fitting)
    if lane.stripe + 1 < stripes:
        return replace(lane, stripe=lane.stripe + 1, range_end=range_end, range_blocks=blocks)
    return replace(
        lane,
        stripe=0,
        next_block=range_end,
        range_end=min(lane.end_block, range_end + blocks),
        range_blocks=blocks,
    )


def shorter(lane: Lane) -> Lane:
    """The lane with less to do in its next batch, so that it meets fewer rows that others hold.

    A range that is counted already, or of which a stripe is done, keeps its length.
    """
    if lane.stripe or lane.stripe_rows:
        return lane
    blocks = max(1, (lane.range_end - lane.next_block) // 4)
    return replace(
        lane, range_end=min(lane.end_block, lane.next_block + blocks), range_blocks=blocks
    )

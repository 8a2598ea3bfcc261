"""The length of a batch's range: its time is held near its target."""

from dataclasses import replace

import pytest

from rollout.engine.lane_positions import next_position
from rollout.engine.lanes import Lane


class TestTheLengthOfARange:
    """The batch's time is held near its target: fast down, slow up."""

    LANE = Lane(1, 0, 1, "public", "things", 10**9, 0, 100, 100, 0)

    def after(self, elapsed: float, lane: Lane = LANE, *, stripes: int = 1) -> Lane:
        return next_position(lane, stripes, lane.range_end, elapsed, target_seconds=0.1)

    def test_a_range_is_cut_to_a_quarter_when_a_batch_took_far_too_long(self) -> None:
        assert self.after(10.0).range_blocks == 25

    def test_a_range_follows_the_time_down(self) -> None:
        assert self.after(0.2).range_blocks == 50

    def test_a_range_grows_by_less_than_a_third_however_short_the_batch_was(self) -> None:
        assert self.after(0.0001).range_blocks == 131

    def test_a_range_keeps_its_length_when_the_batch_met_its_target(self) -> None:
        assert self.after(0.1).range_blocks == 100

    def test_a_range_has_at_least_a_block_and_grows_again_from_there(self) -> None:
        one_block = replace(self.LANE, range_end=1, range_blocks=1)
        assert self.after(10.0, one_block).range_blocks == 1
        assert self.after(0.01, one_block).range_blocks == 2

    def test_the_slowest_stripe_limits_the_length_of_a_range(self) -> None:
        lane = self.LANE
        for elapsed in (0.05, 0.2, 0.05, 0.05):
            lane = self.after(elapsed, lane, stripes=4)
        assert (lane.next_block, lane.range_end, lane.stripe) == (100, 150, 0)

    def test_a_range_holds_the_time_near_the_target_whatever_a_block_costs(self) -> None:
        lane, cost, times = self.LANE, 0.004, []
        for number in range(60):
            elapsed = (lane.range_end - lane.next_block) * cost
            lane = self.after(elapsed, lane)
            times.append(elapsed)
            if number == 30:
                cost /= 20
        assert times[0] == pytest.approx(0.4)
        assert all(0.07 < elapsed < 0.13 for elapsed in times[2:31])
        assert all(0.07 < elapsed < 0.13 for elapsed in times[45:])

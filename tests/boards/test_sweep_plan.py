"""Grids of sweeps: how they are written, what becomes of their points, and what is refused."""

import re

import pytest

from ternforge.errors import UserError
from ternforge.mem.onchip import banks_of
from ternforge.presets import core_preset
from ternforge_boards.board import board, boards
from ternforge_boards.sweep.cores import Refused, block_rams, core_for
from ternforge_boards.sweep.grid import make_grid, read_grid
from ternforge_boards.sweep.models import program_of
from ternforge_boards.sweep.plan import plan
from ternforge_boards.sweep.point import CyclesFrom, Depth
from ternforge_firmware.lower import Layout


def planned(**settings):
    return plan(make_grid({"depth": "estimate", **settings}, "the sweep"))


def refused(settings) -> str:
    with pytest.raises(UserError) as caught:
        make_grid(settings, "the grid 'g.yaml'")
    return str(caught.value)


def test_single_values_are_lists_and_each_counts_once():
    grid = make_grid({"board": "icebreaker", "lanes": [4, 8, 4], "clock": 30}, "the sweep")
    assert (grid.board, grid.lanes, grid.clock, grid.seeds) == (["icebreaker"], [4, 8], [30.0], [1])
    assert grid.depth is Depth.ROUTE


@pytest.mark.parametrize(("settings", "told"), [
    ({"lanes": ["four"]}, ("the grid 'g.yaml': lanes.0: input should be a valid integer, not "
                           "'four'")),
    ({"lanes": [0]}, ("the grid 'g.yaml': lanes.0: input should be greater than or equal to 1, not "
                     "0")),
    ({"clock": [True]}, ("the grid 'g.yaml': clock: must be numbers, not true or false, not "
                        "[True]")),
    ({"clock": [float("nan")]}, ("the grid 'g.yaml': clock.0: input should be less than 1000, "
                                "not nan")),
    ({"seeds": []}, "the grid 'g.yaml': seeds must have at least one value"),
    ({"depth": "deep"}, ("the grid 'g.yaml': depth: input should be 'estimate', 'synth' or "
                        "'route', not 'deep'")),
])
def test_bad_values_are_named(settings, told):
    assert refused(settings) == told


def test_an_unknown_setting_is_named_with_those_that_exist():
    told = refused({"lane_count": 4})
    assert told.startswith("the grid 'g.yaml' has no setting 'lane_count': it takes board, model, ")


def test_yaml_grids_are_read(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("board: icebreaker\nlanes: [4, 8]\nslurm: {queue: long}\n")
    grid = make_grid(read_grid(path), "it")
    assert (grid.board, grid.lanes, grid.slurm.queue) == (["icebreaker"], [4, 8], "long")


@pytest.mark.parametrize(("text", "told"), [
    ("lanes: [4,\n", "must be YAML (line 2)"),
    ("- 4\n", "must be settings such as `lanes: [4, 8]`"),
    ("", "must be settings such as `lanes: [4, 8]`"),
])
def test_what_is_no_grid_is_refused(tmp_path, text, told):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(told)):
        read_grid(path)


def test_a_point_without_settings_is_the_preset():
    for name in boards():
        [point] = planned(board=[name]).points
        assert point.config == core_preset(name)
        assert point.core_mhz == pytest.approx(board(name).core_mhz, rel=0.01)


def test_all_combinations_become_points_first_seeds_first():
    found = planned(board="icebreaker", lanes=[4, 8], clock=[24, 30], seeds=[7, 3], depth="route")
    assert [(point.seed, point.settings["lanes"], point.core_mhz) for point in found.points] == [
        (seed, lanes, clock) for seed in (7, 3) for lanes in (4, 8) for clock in (24, 30)]
    assert {point.cycles for point in found.points} == {CyclesFrom.SIMULATION}
    assert not found.excluded


def test_seeds_are_one_point_where_nothing_is_placed():
    found = planned(board="icebreaker", seeds=[7, 3], depth="synth")
    assert [point.seed for point in found.points] == [7]
    assert found.notes == ("seeds count at --depth route alone: one point for 2 of them",)


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_the_image_memory_follows_the_lanes(lanes):
    """Four RAMs of 16384 words of 16 bits; the rest of the image is in block RAM."""
    [point] = planned(board="icebreaker", lanes=[lanes]).points
    core = point.config
    assert core.single_port_beats * core.lanes == 4 * 16384 * 2
    needed = Layout(program_of("shakespeare-up5k"), core).beats
    assert needed <= core.memory_beats < needed + 256
    assert core.elements == 1


def test_elements_follow_narrow_lanes_unless_they_are_set():
    [point] = planned(board="ulx3s-85f", lanes=[4]).points
    assert point.config.elements == 2
    found = planned(board="ulx3s-85f", lanes=[4], elements=[4])
    assert not found.points
    [excluded] = found.excluded
    assert excluded.rule == "core's configuration"
    assert excluded.reason == ("CoreConfig.elements must be a power of two that divides "
                               "lanes/2=2, not 4")


def test_block_rams_take_the_best_shape():
    assert block_rams("ecp5", 2048, 320) == 36  # 9 bits wide, as in the preset of the ULX3S
    assert block_rams("ecp5", 1024, 320) == 18
    assert block_rams("ecp5", 4096, 32) == 8
    assert block_rams("ice40", 512, 64) == 8


def test_banks_add_up_to_the_fewest_block_rams():
    [point] = planned(board="ulx3s-85f", lanes=[16], model="shakespeare-up5k").points
    banks = banks_of(point.config)
    taken = sum(block_rams("ecp5", bank.depth, 128) for bank in banks)
    least = min(sum(block_rams("ecp5", min(depth, point.config.memory_beats - start), 128)
                    for start in range(0, point.config.memory_beats, depth))
                for depth in (1024, 2048, 4096, 8192, 16384))
    assert taken == least


def test_a_board_takes_a_smaller_model_where_its_own_fits_nowhere():
    found = planned(board="ulx3s-85f", lanes=[4, 8])
    assert {point.model for point in found.points} == {"shakespeare-up5k"}
    assert found.notes == (("ulx3s-85f: shakespeare-85f fits none of its points, shakespeare-up5k "
                           "is taken"),)
    found = planned(board="ulx3s-85f", lanes=[8, 40])
    assert [(point.model, point.settings["lanes"]) for point in found.points] == [
        ("shakespeare-85f", 40)]
    assert [one.rule for one in found.excluded] == ["device's memory"]


@pytest.mark.parametrize(("settings", "rule", "reason"), [
    ({"board": "icebreaker", "lanes": 16}, "device's memory",
     "the image takes 264 block RAMs and vectors and states at least 8, of 30"),
    ({"board": "icebreaker", "lanes": 3}, "core's configuration",
     "CoreConfig.lanes must be even, not 3"),
    ({"board": "icebreaker", "lane": "fast"}, "core's configuration", None),
    ({"board": "icebreaker", "clock": 3}, "board's clock", None),
    ({"board": "orangecrab-85f", "cores": 2}, "model's shape",
     ("matrix 'lm_head' of model 'shakespeare-85f' must have a multiple of cores=2 rows, not "
      "65")),
    ({"board": "icebreaker", "model": "mmfree-370m"}, "core's capacity", None),
    ({"board": "orangecrab-85f", "model": "mmfree-370m", "depth": "synth"}, "model's weights",
     "of mmfree-370m the shape alone is known: use --depth estimate"),
    ({"board": "tang-nano-20k", "lanes": 6}, "memory's width",
     ("a beat of lanes=6 bytes must be 1, 2, 4 .. times as wide or narrow as the memory's words "
     "of 4")),
    ({"board": "tang-nano-20k", "streams": 2, "depth": "route"}, "host port", None),
])
def test_rules_exclude(settings, rule, reason):
    found = planned(**settings)
    assert not found.points
    [excluded] = found.excluded
    assert excluded.rule == rule
    assert reason is None or excluded.reason == reason


def test_a_grid_without_a_point_says_which_rules_excluded_them():
    found = planned(board="icebreaker", lanes=[3, 5, 16])
    with pytest.raises(UserError) as caught:
        found.check()
    assert str(caught.value) == (
        "no point of the grid is valid, 3 are excluded: 2 by the core's configuration (icebreaker "
        "lanes=3 30 MHz: CoreConfig.lanes must be even, not 3); 1 by the device's memory "
        "(icebreaker lanes=16 30 MHz: the image takes 264 block RAMs and vectors and states at "
        "least 8, of 30)")


def test_released_models_are_estimated_from_their_shape():
    [point] = planned(board="orangecrab-85f", model="mmfree-370m").points
    assert point.config.memory_beats == core_preset("orangecrab-85f").memory_beats


def test_streams_and_cores_are_measured_alone():
    found = planned(board="icebreaker", lanes=8, streams=[1, 2], depth="synth")
    assert [point.alone for point in found.points] == [False, True]
    assert found.points[1].cycles is CyclesFrom.MODEL


def test_a_core_without_its_memory_chip_is_not_simulated(toy_model):
    settings = {"cores": [1, 2], "depth": "synth", "cycles": "simulation", "model": str(toy_model)}
    found = planned(board="orangecrab-85f", **settings)
    assert [point.cycles for point in found.points] == [CyclesFrom.SIMULATION, CyclesFrom.MODEL]
    found = planned(board="icebreaker", elements=2, **settings)
    assert {point.cycles for point in found.points} == {CyclesFrom.SIMULATION}


def test_a_core_that_cannot_hold_the_model_is_refused():
    with pytest.raises(Refused) as caught:
        core_for(board("icebreaker"), {"lanes": 8}, program_of("shakespeare-85f"))
    assert caught.value.rule == "core's capacity"
    assert "max_fan_in=600 of 400" in str(caught.value)

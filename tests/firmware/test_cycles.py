"""The analytic cycle model against the Verilated core, packet by packet."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge.presets import core_preset
from ternforge_firmware.cycles import image_packets, model_packets, token_cycles
from ternforge_firmware.lower import lower
from ternforge_model.convert import convert
from ternforge_model.synthetic import released_config
from ternforge_model.toy import random_checkpoint
from ternforge_sim.runner import VerilatedCore, build_simulator

SIZE: Any = {"memory_beats": 4096, "vector_depth": 512, "state_depth": 256, "max_rows": 32,
             "max_fan_in": 160}
CORES = {"on-chip": CoreConfig(lanes=8, tree_levels=3, **SIZE),
         "external": CoreConfig(lanes=16, elements=4, bank_beats=0, tile_registers=2, **SIZE)}

pytestmark = pytest.mark.xdist_group("external-simulator")


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("inner_norms", [False, True], ids=["ones", "inner-norms"])
def test_cycles_of_the_rtl_by_packet_and_cause(name, inner_norms):
    core = CORES[name]
    config, tensors = random_checkpoint(21, d=44, layers=2, m=100, vocab=50,
                                        inner_norms=inner_norms)
    image = lower(convert(config, tensors), core)
    hardware = VerilatedCore(build_simulator(core), core)
    hardware.load(image.memory())
    step = hardware.step(7, reset=True)
    hardware.close()
    packets = image_packets(image)
    expected = token_cycles(packets, core)
    assert step.activity.sum() == step.cycles
    assert step.activity.shape == expected.shape
    exact = [cause.value for cause in (Cause.WEIGHTS, Cause.CONSTANTS, Cause.HEADER, Cause.DRAIN)]
    np.testing.assert_array_equal(step.activity[:, exact], expected[:, exact])
    assert abs(expected.sum() / step.cycles - 1) < 0.03
    # The same packets follow from the shape of the model alone.
    shapes = model_packets(config, core, inner_norms=inner_norms, wide_embedding=False)
    assert shapes == [replace(packet, wide=shape.wide)
                      for packet, shape in zip(packets, shapes, strict=True)]


def test_share_of_the_released_models_follows_from_their_shape():
    core = core_preset("ddr-n16")
    config = released_config("370m")
    cycles = token_cycles(model_packets(config, core), core).sum()
    assert 0.97 < 341_049_344 / core.tile / cycles < 0.98

import pytest

from ternforge.presets import core_preset
from ternforge_firmware.footprint import footprint, shape_program
from ternforge_firmware.lower import lower, lower_for
from ternforge_model.catalog import open_model
from ternforge_model.config import ModelConfig
from ternforge_model.program import Matvec
from ternforge_model.synthetic import released_config
from ternforge_model.toy import wide_program


@pytest.mark.parametrize(("model", "core"), [("shakespeare-up5k", "up5k"),
                                             ("shakespeare-85f", "ecp5-85f")])
def test_footprint_of_a_shape_is_that_of_the_image(model, core):
    found = open_model(model)
    image = lower_for(found.program, core)
    expected = footprint(found.program, core_preset(core))
    assert expected.image_bytes == image.memory().size
    assert expected.misfit == ""
    assert footprint(shape_program(found.config, inner_norms=False),
                     core_preset(core)) == expected


def test_stream_of_a_token_leaves_the_other_rows_out():
    config = ModelConfig(hidden_size=64, num_hidden_layers=2, intermediate_size=128, vocab_size=96)
    core = core_preset("ddr-n16")
    image = lower(wide_program(3, d=64, layers=2, m=128, vocab=96, inner_norms=True), core)
    found = footprint(shape_program(config), core)
    rows = 96 * 64 // 16
    assert found.image_bytes == image.memory().size
    assert found.stream_bytes == image.memory().size - (rows - 64 // 16) * 16


def test_misfit_names_each_shortage():
    found = footprint(shape_program(released_config("370m")), core_preset("ecp5-85f"))
    assert found.misfit.startswith("vector_depth=3840 of 2048, state_depth=24576 of 1024, "
                                   "max_fan_in=2816 of 600, memory_beats=")


def test_released_sizes_stream_what_the_specification_says():
    # 68.2, 259.7 and 523.9 MB of weights at 1.6 bit; headers, constants and padding add
    for size, weights, core in (("370m", 68.2e6, "ddr-n16"), ("1.3b", 259.7e6, "ddr-n64"),
                                ("2.7b", 523.9e6, "ddr-n64")):
        stream = footprint(shape_program(released_config(size)), core_preset(core)).stream_bytes
        assert weights < stream < 1.1 * weights


def test_weights_of_a_shape_cannot_be_read():
    program = shape_program(released_config("tiny"))
    with pytest.raises(KeyError):
        next(op for op in program.ops if isinstance(op, Matvec)).trits.any()

import pytest

from ternforge.presets import core_preset
from ternforge_boards.board import board, boards
from ternforge_boards.ceiling import ceilings, peak_bandwidth
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model


def bound(name, model):
    return next(one for one in ceilings(board(name)) if one.model == model)


def test_peak_bandwidth_is_the_memory_s_or_the_core_s():
    assert peak_bandwidth(board("icebreaker")) == 8 * 30e6
    assert peak_bandwidth(board("ulx3s-85f")) == 40 * 90e6
    assert peak_bandwidth(board("ulx3s-85f-sdram")) == 2 * 2 * 62.5e6
    assert peak_bandwidth(board("orangecrab-85f")) == 2 * 300e6


@pytest.mark.parametrize(("name", "model"), [("icebreaker", "shakespeare-up5k"),
                                             ("tang-nano-20k", "shakespeare-up5k")])
def test_ceiling_is_bandwidth_over_what_a_token_reads(name, model):
    image = lower_for(open_model(model).program, name)
    read = image.memory().nbytes - (image.vocab_size - 1) * image.embedding_beats.nbytes \
        // image.vocab_size
    found = bound(name, model)
    assert found.image_bytes == image.memory().nbytes
    assert found.tokens_per_second == pytest.approx(peak_bandwidth(board(name)) / read)
    assert found.misfit == ""


def test_what_does_not_fit_says_why():
    assert bound("icebreaker", "shakespeare-85f").misfit.startswith(
        "state_depth=800 of 512, max_fan_in=600 of 400, memory_beats=")
    assert "memory_beats" in bound("orangecrab-85f", "mmfree-1.3b").misfit
    assert bound("orangecrab-85f", "mmfree-370m").misfit == ""


@pytest.mark.parametrize("record", [b for b in boards().values() if b.memory],
                         ids=lambda b: b.name)
def test_the_core_addresses_no_more_than_the_chip_has(record):
    core = core_preset(record.name)
    assert core.memory_beats * core.lanes <= record.memory.size_bytes

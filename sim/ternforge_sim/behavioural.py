"""Lanes as one C++ function, for simulators: the same sums in the same cycles, in less time."""

from pathlib import Path

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.errors import UserError
from ternforge.lanes import holds_tiles

__all__ = ["MODEL", "lanes_defines", "lanes_verilog"]

#: C++ of the function ``ternforge_dot_product``.
MODEL = Path(__file__).with_name("lanes.hpp")


def lanes_defines(config: CoreConfig) -> list[str]:
    """Options of the compiler that fit :data:`MODEL` to the lanes of ``config``."""
    return [f"-DLANES={config.row_lanes}", *(["-DPAIRS"] if config.decodes_ahead else [])]


def lanes_verilog(config: CoreConfig) -> str:
    """The module that stands for the lanes of ``config``; calls ``ternforge_dot_product``.

    It has one register. The function is called once a cycle, whether there is a beat or not.

    Raises
    ------
    UserError
        For lanes that hold the tiles themselves.
    """
    if holds_tiles(config.lane):
        raise UserError("--behavioural-lanes stands for lanes that are given their codes, not for "
                        f"those of kind {config.lane!r}")
    weights = DotProduct.beat_layout(config)["data"].width
    data, codes, total = (f"[{bits - 1}:0]" for bits in (weights, 8 * config.tile,
                                                         config.dot_bits))
    return f"""\
module ternforge_dot_product (input clk, input {data} data, input {codes} codes,
                              output reg signed {total} sum);
  import "DPI-C" pure function int ternforge_dot_product(input bit {data} data,
                                                         input bit {codes} codes);
  always @(posedge clk) sum <= {config.dot_bits}'(ternforge_dot_product(data, codes));
endmodule
"""

"""A core by itself, as it is measured: without the trace that only simulations read."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from ternforge.accelerator import Accelerator
from ternforge.core.core import Core

__all__ = ["Untraced"]


class Untraced(wiring.Component):
    """A core as it is built: its trace is open, so that synthesis removes it.

    Parameters
    ----------
    core : Core or Accelerator
        Becomes a part of it; all its members but ``trace`` are members here.
    """

    def __init__(self, core: Core | Accelerator):
        self.core = core
        super().__init__({name: member for name, member in core.signature.members.items()
                          if name != "trace"})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.core = self.core
        for name, member in self.signature.members.items():
            inner, outer = getattr(self.core, name), getattr(self, name)
            if not member.is_port:
                connect(m, flipped(outer), inner)
            elif member.flow == Out:
                m.d.comb += outer.eq(inner)
            else:
                m.d.comb += inner.eq(outer)
        return m

"""The adders of the lanes are exact, each proven by SAT: their root is the sum of the leaves."""

import importlib
from itertools import count

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ternforge.config import CoreConfig
from ternforge.lanes import KINDS
from ternforge.numerics import CODE_MAX
from ternforge.verilog import generate

from .prove import yosys

#: In one cycle, with anything in the registers: adders behind them take any number that their width
#: allows.
PROOF = """\
read_verilog proof.v
hierarchy -top proof; proc; flatten; opt_clean
setattr -unset init w:*
sat -seq 1 -verify -prove exact 1 proof
"""

TREES = [name for name, kind in KINDS.items()
         if not kind.holds_tiles and hasattr(importlib.import_module(kind.module), "adder_tree")]
CASES = [(kind, lanes, levels) for kind in TREES for lanes, levels in ((2, 1), (6, 2), (16, 1))]


class Proof(wiring.Component):
    """Lanes of a kind, and whether each of their adders is exact.

    A node stands for an integer: its value, inverted where it says so, plus the one that it lacks.
    That is at most 127 for each of its terms. An adder is exact if that holds for its result
    whenever it holds for its operands, and if the result stands for their sum.
    """

    exact: Signal

    def __init__(self, kind, config, monkeypatch, wrong):
        self.module, self.config = importlib.import_module(KINDS[kind].module), config
        self.patch, self.wrong = monkeypatch, wrong
        self.additions = self.terms = 0
        super().__init__({"exact": Out(1)})

    def elaborate(self, platform):
        m, proven, tree = Module(), [], self.module.adder_tree
        numbers = count()

        def integer(node):
            value = node.value
            if node.invert is not None:
                value = (value ^ node.invert.replicate(len(value)).as_signed()).as_signed()
            return value + (0 if node.lacks is None else node.lacks)

        def bounded(node, value):
            most = CODE_MAX * node.terms
            return (value >= -most) & (value <= most)

        def checked(nodes, per_stage, add, register):
            def adding(additions):
                values = add(additions)
                for each, value in zip(additions, values, strict=True):
                    if next(numbers) == self.wrong:
                        value = value ^ 1
                    left, right = integer(each.left), integer(each.right)
                    lacks = 0 if each.result.lacks is None else each.result.lacks
                    assert each.result.invert is None
                    assert len(value) == each.result.width
                    total = value.as_signed() + lacks
                    given = bounded(each.left, left) & bounded(each.right, right)
                    ok = Signal(name=f"ok_{len(proven)}")
                    lanes_m.d.comb += ok.eq(~given | (
                        (total == left + right) & bounded(each.result, total)))
                    proven.append(ok)
                return values

            def keeping(shape, value):
                assert Shape.cast(shape) == value.shape()
                return register(shape, value)

            self.terms = len(nodes)
            root = tree(nodes, per_stage, adding, keeping)
            assert len(root) == self.config.dot_bits
            return root

        self.patch.setattr(self.module, "adder_tree", checked)
        lanes = self.module.Lanes(self.config)

        class Elaborated(Elaboratable):
            def elaborate(self, platform):
                return lanes_m

        lanes_m = Module()
        trits = [(Signal(), Signal()) for _ in range(self.config.tile)]
        lanes.total(lanes_m, iter(trits), None)
        m.submodules.lanes = lanes_m
        self.additions = len(proven)
        m.d.comb += self.exact.eq(Cat(proven).all())
        return m


def proven(kind, lanes, levels, folder, monkeypatch, wrong=None):
    config = CoreConfig(lanes=lanes, tree_levels=levels, lane=kind)
    proof = Proof(kind, config, monkeypatch, wrong)
    (folder / "proof.v").write_text(generate(proof, "proof", reset=False).text)
    # One adder for each term but one, and one for the lacking one of the node that was alone.
    assert proof.terms == config.tile
    assert proof.additions == config.tile
    done = yosys(PROOF, folder)
    if done.returncode:
        assert "proof did fail" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(("kind", "lanes", "levels"), CASES, ids=str)
def test_every_adder_is_exact(kind, lanes, levels, tmp_path, monkeypatch):
    assert proven(kind, lanes, levels, tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("wrong", [0, 9])
def test_a_wrong_adder_is_noticed(kind, wrong, tmp_path, monkeypatch):
    assert not proven(kind, 2, 1, tmp_path, monkeypatch, wrong)

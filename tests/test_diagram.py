"""The picture of the architecture shows a design as it is."""

from xml.etree import ElementTree

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from tritforge.hdl.config import AcceleratorConfig
from tritforge.sim.diagram import Box, draw, read_design


class Leaf(wiring.Component):
    """Two inputs, an output."""

    def __init__(self) -> None:
        super().__init__({"a": In(8), "b": In(8), "control": In(7), "q": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.q.eq(self.a + self.b + self.control)
        return m


class Pair(wiring.Component):
    """A leaf that goes into another one, and a memory."""

    def __init__(self) -> None:
        super().__init__({"into": In(8), "out": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.first, m.submodules.second = first, second = Leaf(), Leaf()
        m.submodules.store = store = memory.Memory(shape=unsigned(12), depth=300, init=[])
        read, write = store.read_port(), store.write_port()
        held = Signal(8)
        m.d.sync += held.eq(Mux(second.q[0], first.q + 1, self.into))
        m.d.comb += [
            second.a.eq(held),
            second.control.eq(first.q),
            first.a.eq(read.data),
            write.data.eq(Cat(second.q, second.q)),
            self.out.eq(second.q),
        ]
        return m


class Top(wiring.Component):
    """A stream into a pair, what comes out of it into a leaf, and on."""

    def __init__(self) -> None:
        beats = stream.Signature(unsigned(8))
        super().__init__({"beats": In(beats), "results": Out(beats), "level": In(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pair, m.submodules.leaf = pair, leaf = Pair(), Leaf()
        with m.If(self.beats.valid):
            m.d.comb += pair.into.eq(self.beats.payload)
        with m.If(pair.out == 0):
            m.d.comb += leaf.b.eq(self.level)
        with m.Else():
            m.d.comb += leaf.b.eq(pair.out)
        m.d.comb += self.results.payload.eq(leaf.q)
        return m


def test_data_is_followed_through_logic_registers_and_hierarchy_but_not_through_selections() -> None:
    diagram = read_design(Top(), ["Pair"])
    assert diagram.groups == {"pair": "Pair"}
    assert diagram.boxes == {
        "beats": Box("stream", "beats"),
        "results": Box("stream", "results"),
        "pair/first": Box("unit", "first", "Leaf"),
        "pair/second": Box("unit", "second", "Leaf"),
        "pair/store": Box("memory", "store", "300 × 12"),
        "leaf": Box("unit", "leaf", "Leaf"),
    }
    assert diagram.edges == {
        ("beats", "pair/second"): 8,
        ("pair/first", "pair/second"): 8,
        ("pair/store", "pair/first"): 8,
        ("pair/second", "pair/store"): 12,
        ("pair/second", "leaf"): 8,
        ("leaf", "results"): 8,
    }


def test_a_unit_that_is_not_opened_is_one_box() -> None:
    diagram = read_design(Top(), [])
    assert diagram.boxes["pair"] == Box("unit", "pair", "Pair")
    assert diagram.edges == {("beats", "pair"): 8, ("pair", "leaf"): 8, ("leaf", "results"): 8}


def test_the_picture_is_svg_and_the_same_every_time() -> None:
    config = AcceleratorConfig.load("up5k")
    picture = draw(config)
    assert picture == draw(config)
    elements = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    texts = {element.text for element in elements}
    assert {"Sequencer", "MatMul", "Datapath", "beats", "tokens"} <= texts

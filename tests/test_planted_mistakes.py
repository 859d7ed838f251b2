"""Mistakes, planted one at a time into the hardware's source: a unit's own bench must find each.

A case names the module, a fragment of its source, and what a mistake would make of it. The module is built
anew from the changed source and takes the right one's place wherever that is used; then the bench runs in
Amaranth's simulator and must report a mismatch. A fragment that is no longer there, or not just once, is an
error: the case must follow the code.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import VECTORS
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.golden import GoldenModel
from tritforge.models.quantise import quantise
from tritforge.models.reference import Reference
from tritforge.sim.benches.accelerator import SMALL
from tritforge.sim.benches.driver import MismatchError, simulate
from tritforge.sim.benches.library import LIBRARY

BENCHES = LIBRARY | {bench.name: bench for bench in SMALL}


@dataclass(frozen=True)
class Mistake:
    """A wrong line.

    Parameters
    ----------
    what
        What is wrong.
    module
        Within the package.
    right, wrong
        A fragment of its source and what stands there instead.
    unit, case
        The bench that must fail.
    """

    what: str
    module: str
    right: str
    wrong: str
    unit: str
    case: str


MISTAKES = [
    Mistake(
        "ties of the quantiser go up instead of away from zero",
        "hdl.quantiser",
        "rounded.eq((kept ^ below.replicate(_ROUNDED_BITS)) + 1)",
        "rounded.eq((kept ^ below.replicate(_ROUNDED_BITS)) + 1 + below)",
        "quantiser",
        "corner_values",
    ),
    Mistake(
        "the quantiser clamps at -127",
        "hdl.quantiser",
        "Cat((~below).replicate(INT8.bits - 1), below)",
        "Cat(C(1, 1), (~below).replicate(INT8.bits - 2), below)",
        "quantiser",
        "corner_values",
    ),
    Mistake(
        "ties of the rescaler go down",
        "hdl.rescale",
        "rounded.eq((fine + 1) >> 1)",
        "rounded.eq(fine >> 1)",
        "rescaler",
        "corner_values",
    ),
    Mistake(
        "a difference of states is one bit too narrow",
        "hdl.mlgru",
        "whole = Signal(signed(ACT.bits + 1), reset_less=True)",
        "whole = Signal(signed(ACT.bits), reset_less=True)",
        "mlgru",
        "corner_values",
    ),
    Mistake(
        "a candidate with noise is one bit too narrow",
        "hdl.head",
        "candidate = Signal(signed(VECTOR.bits + 1), reset_less=True)",
        "candidate = Signal(signed(VECTOR.bits), reset_less=True)",
        "head",
        "corners_of_samples",
    ),
    Mistake(
        "the later of two equal logits wins",
        "hdl.head",
        "(candidate + inverted)[-1]",
        "(candidate + inverted + 1)[-1]",
        "head",
        "first_of_the_largest_sums",
    ),
    Mistake(
        "what is left of a vector's last beat is not dropped",
        "hdl.streams",
        "with m.If(step & ending):",
        "with m.If(0):",
        "unpacker",
        "shapes",
    ),
    Mistake(
        "an element meets its word's level, not its own",
        "hdl.wide_measure",
        "normal.eq(shift_levels(held, level[1]))",
        "normal.eq(shift_levels(held, word_levels[1]))",
        "wide_measure",
        "rising_levels",
    ),
    Mistake(
        "squares lose nothing by the levels after them",
        "hdl.wide_measure",
        "total = ((total >> 2 * LEVEL_SHIFT) + energy)[:bits]",
        "total = (total + energy)[:bits]",
        "wide_measure",
        "rising_levels",
    ),
    Mistake(
        "a word's products are aligned from its first one's level",
        "hdl.wide_inputs",
        "behind = (self.level - read.data.levels[k])[:LEVEL_BITS]",
        "behind = (self.level - read.data.levels[0])[:LEVEL_BITS]",
        "wide_input_quantiser",
        "corners",
    ),
    Mistake(
        "a last word keeps elements of the word before",
        "hdl.gatherer",
        "with m.Elif(self.valid & (place == 0)):",
        "with m.Elif(0):",
        "gatherer",
        "without_a_bubble",
    ),
    Mistake(
        "what is left of a vector's last word of weights is not dropped",
        "hdl.weights",
        "then.eq(Mux(self.clear, 0, place + (self.reserve & ~self.by_word)))",
        "then.eq(place + (self.reserve & ~self.by_word))",
        "weight_buffer_of_words",
        "words_without_a_bubble",
    ),
    Mistake(
        "an element is written into each place of its word",
        "hdl.store",
        "write.en.eq(self.fill | (self.write & (self.write_address[:within] == k)))",
        "write.en.eq(self.fill | self.write)",
        "word_store",
        "words_and_elements",
    ),
    Mistake(
        "what lies behind a vector is part of its last word",
        "hdl.vectors",
        "self.present[k].eq(k < left)",
        "self.present[k].eq(1)",
        "vector_control_of_words",
        "each_pass",
    ),
    Mistake(
        "a vector's last weights are taken only if they are a whole word",
        "hdl.vectors",
        "gathered.eq(self.running & self.produced & (full | last))",
        "gathered.eq(self.running & self.produced & full)",
        "vector_control_of_words",
        "each_pass",
    ),
    Mistake(
        "words that are read are measured with what lies behind the vector",
        "hdl.datapath",
        "read = vectors.word[k] & now.present[k].replicate(VECTOR.bits)",
        "read = vectors.word[k]",
        "datapath_of_words",
        "odd_sizes",
    ),
    Mistake(
        "a word of lower bounds is written without its last one",
        "hdl.epilogue",
        "f_buffer.fill_word.eq(self.bound)",
        "f_buffer.fill_word.eq(self.bound[: GATE.bits * (self._width - 1)])",
        "epilogue_of_words",
        "a_text",
    ),
    Mistake(
        "elements are measured that no projection takes",
        "hdl.datapath",
        "measure.valid.eq(Mux(now.running, self.produced, now.valid))",
        "measure.valid.eq(self.produced | now.valid)",
        "datapath",
        "corners",
    ),
    Mistake(
        "an output scale in the middle of a reset goes on",
        "hdl.parallel_scale",
        "step = Signal(len(_Step), init=1)",
        "step = Signal(len(_Step), init=1, reset_less=True)",
        "parallel_scale",
        "reset_in_the_middle",
    ),
    Mistake(
        "an element that waits is dropped",
        "hdl.streams",
        "step.eq(self.elements.valid & self.elements.ready)",
        "step.eq(self.elements.valid)",
        "unpacker",
        "with_bubbles_and_stalls",
    ),
    Mistake(
        "a raw logit that waits is dropped",
        "hdl.head",
        "with m.Elif(self.raw.ready):",
        "with m.Else():",
        "head",
        "raw_logits",
    ),
    Mistake(
        "a pipeline is not cleared by reset",
        "hdl.arith",
        "reset_less=data",
        "reset_less=True",
        "rescaler",
        "reset_in_the_middle",
    ),
    Mistake(
        "the output scale is computed on behind a reset",
        "hdl.scalars",
        "step = Signal(len(_Step), init=1)",
        "step = Signal(len(_Step), init=1, reset_less=True)",
        "inverse_root_scale",
        "reset_in_the_middle",
    ),
    Mistake(
        "a matrix's last rows take part in the sums of the block before",
        "hdl.matmul",
        "last_row.eq(rest == 2)",
        "last_row.eq(rest == 1)",
        "matmul",
        "quick",
    ),
    Mistake(
        "the last, partial column block of a row is left out",
        "hdl.matmul",
        "last_then = Mux(begins, lone_block, blocks_left == 2)",
        "last_then = Mux(begins, lone_block, blocks_left == 3)",
        "matmul",
        "quick",
    ),
    Mistake(
        "rows read the tables of the column block before",
        "hdl.matmul",
        "filled.bit_select(bank, 1).eq(0), bank.eq(~bank)",
        "filled.bit_select(bank, 1).eq(0), bank.eq(bank)",
        "matmul",
        "quick",
    ),
    Mistake(
        "tables are read while their inputs are still in doubt",
        "hdl.matmul",
        "with m.Elif(self.fill_certain):",
        "with m.Else():",
        "matmul",
        "quick",
    ),
    Mistake(
        "a partial sum is one bit too narrow",
        "hdl.dot_sums",
        'Signal.like(self.sums[k], name=f"before{k}")',
        'Signal(signed(len(self.sums[k]) - 1), name=f"before{k}")',
        "partial_sums",
        "extremes",
    ),
    Mistake(
        "a negative code's carry-in is missing",
        "hdl.dot_adders",
        "self.carry ^ by",
        "self.carry",
        "lookup_dot",
        "extremes",
    ),
    Mistake(
        "the largest product keeps its size when the level rises",
        "hdl.measure",
        "self.peak >> LEVEL_SHIFT * k",
        "self.peak",
        "measure",
        "rising_levels",
    ),
    Mistake(
        "int8 inputs are taken for certain before the last product is known",
        "hdl.inputs",
        "self.certain.eq(self.measured & ~self.void)",
        "self.certain.eq(~self.void)",
        "input_quantiser",
        "corners",
    ),
    Mistake(
        "a full weight buffer takes one more",
        "hdl.weights",
        "~held[-1] & ~(held[1:-1].all() & write.en)",
        "~held[-1]",
        "weight_buffer",
        "a_full_buffer_waits",
    ),
    Mistake(
        "a weight that may be reserved in this cycle is promised for the next one",
        "hdl.weights",
        "self.soon.eq(left(self.may_reserve))",
        "self.soon.eq(left(C(0)))",
        "weight_buffer",
        "with_bubbles_and_stalls",
    ),
    Mistake(
        "the first block is told of when one of its inputs is still to be read",
        "hdl.inputs",
        "self.first_soon.eq(~(element < self._digits * self._tables))",
        "self.first_soon.eq(~(element < self._digits * self._tables - 1))",
        "input_quantiser",
        "without_a_bubble",
    ),
    Mistake(
        "a text begins with the state of the one before",
        "hdl.epilogue",
        "Mux(self.chained, self.chain, Mux(self.first, 0, h_read.data))",
        "Mux(self.chained, self.chain, h_read.data)",
        "epilogue",
        "a_text",
    ),
    Mistake(
        "a new state is written although it is not to be kept",
        "hdl.epilogue",
        "(h_done & self.keep)",
        "h_done",
        "epilogue",
        "states_from_another_stream",
    ),
    Mistake(
        "a sum turns where the one before it does not",
        "hdl.dot",
        "turn.eq(read_down ^ down)",
        "turn.eq(down)",
        "table_filler",
        "every_block",
    ),
    Mistake(
        "codes read the bank that is being filled",
        "hdl.dot",
        "Cat(self.codes[t][:-1], self.bank)",
        "Cat(self.codes[t][:-1], self.fill_bank)",
        "lookup_dot",
        "without_a_bubble",
    ),
    Mistake(
        "a tree's activations come into use before the last of them is there",
        "hdl.dot_tree",
        "whole.eq(self.entry == TRITS_PER_BYTE - 1)",
        "whole.eq(self.entry == TRITS_PER_BYTE - 2)",
        "tree_dot",
        "extremes",
    ),
    Mistake(
        "a load that begins again is done when the one before would have been",
        "hdl.dot_tree",
        "m.d.sync += [running.eq(1), next_entry.eq(0), self.write.eq(0), self.done.eq(0)]",
        "m.d.sync += [running.eq(1), next_entry.eq(0), self.write.eq(0)]",
        "activation_loader",
        "begun_again",
    ),
    Mistake(
        "every layer reads the first one's weights",
        "hdl.sequencer",
        "address.eq(instruction.address + base)",
        "address.eq(instruction.address)",
        "sequencer",
        "programs",
    ),
    Mistake(
        "a token begins with the weights behind the last layer",
        "hdl.sequencer",
        "at.eq(0), base.eq(0), self.layer.eq(0)",
        "at.eq(0), self.layer.eq(0)",
        "sequencer",
        "programs",
    ),
    Mistake(
        "a projection ends before the last stream's last element is measured",
        "hdl.vectors",
        "Mux(run, self._lag - at_once, 0)",
        "Mux(run, -at_once, 0)",
        "vector_control",
        "each_pass",
    ),
    Mistake(
        "lower bounds change what the output scale's epsilon is measured against",
        "hdl.vectors",
        "with m.If(now.opcode != Opcode.BOUND):",
        "with m.If(1):",
        "vector_control",
        "each_pass",
    ),
    Mistake(
        "the energy of u is that of x",
        "hdl.datapath",
        "self.address | Mux(now.product, above, 0)",
        "self.address",
        "datapath",
        "a_token",
    ),
    Mistake(
        "logits that are sampled are not divided by the temperature",
        "hdl.datapath",
        "Mux(sampled, scale.tempered_exponent, scale.exponent)",
        "scale.exponent",
        "datapath",
        "a_token",
    ),
    Mistake(
        "the inputs of i are multiplied by the norm weights of f",
        "hdl.compiler",
        "header, gain, matrix = (",
        "header, gain, matrix = (parts[n] for n in ('f.header', 'f.gain', 'i.matrix')) if name == 'i' else (",
        "accelerator_alone",
        "one_token",
    ),
    Mistake(
        "a stream goes on from another one's state",
        "hdl.accelerator",
        "datapath.chained.eq(chained if k else 0)",
        "datapath.chained.eq(1 if k else 0)",
        "accelerator_pair",
        "two_tokens_at_once",
    ),
    *(
        Mistake(
            f"the checkpoint's first share becomes a lower bound of layer 0, found by {unit}",
            "models.quantise",
            "bounds[0] = 0.0",
            "bounds[0] = share[0]",
            unit,
            case,
        )
        for unit, case in (("accelerator_alone", "one_token"), ("golden", "near_the_float_reference"))
    ),
    *(
        Mistake(
            f"layer 0 takes what lies behind its lower bounds for them, found by {unit}",
            "hdl.sequencer",
            "address.eq(instruction.address + base)",
            "address.eq(instruction.address + Mux((opcode == Opcode.BOUND) & (self.layer == 0),"
            " instruction.beats, base))",
            unit,
            case,
        )
        for unit, case in (("sequencer", "programs"), ("accelerator_alone", "one_token"))
    ),
]


def _planted(mistake: Mistake) -> ModuleType:
    right = importlib.import_module(f"tritforge.{mistake.module}")
    source = inspect.getsource(right)
    count = source.count(mistake.right)
    if count != 1:
        pytest.fail(
            f"{mistake.right!r} stands {count} times in {mistake.module}; the case must follow the code"
        )
    wrong = ModuleType(f"{right.__name__}_planted")
    wrong.__package__, wrong.__file__ = right.__package__, right.__file__
    sys.modules[wrong.__name__] = wrong  # dataclasses and enums look their module up
    try:
        exec(compile(source.replace(mistake.right, mistake.wrong), wrong.__name__, "exec"), vars(wrong))
    finally:
        del sys.modules[wrong.__name__]
    return wrong


@contextmanager
def planted(mistake: Mistake) -> Iterator[ModuleType]:
    """Put the wrong module's names wherever the right one's have been imported."""
    right = importlib.import_module(f"tritforge.{mistake.module}")
    wrong = _planted(mistake)
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("tritforge.hdl", "tritforge.models", "tritforge.sim")) and module is not right
    ]
    with pytest.MonkeyPatch.context() as patch:
        for user in users:
            for name, value in list(vars(user).items()):
                # Classes and functions that the module itself defines.
                if getattr(value, "__module__", None) == right.__name__ and hasattr(wrong, name):
                    patch.setattr(user, name, getattr(wrong, name))
        yield wrong


def _golden_is_near_the_float_reference(quantise: Callable[[Checkpoint], Any]) -> None:
    checkpoint = Checkpoint(VECTORS / "A")
    tokens = np.arange(12) % checkpoint.config.vocab_size
    floats = Reference(checkpoint).forward(tokens).astype(np.float64)
    golden = GoldenModel(quantise(checkpoint))
    logits, _ = golden.forward(tokens, golden.initial_state())
    ours = logits.sums * logits.scales[:, None]
    cosine = (ours * floats).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(floats, axis=1)
    if cosine.min() < 0.998:
        raise MismatchError(
            f"the golden model's logits have a cosine of {cosine.min():.4f} to the reference's"
        )


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_planted_mistake_is_found(mistake: Mistake) -> None:
    with planted(mistake) as wrong, pytest.raises(MismatchError):
        if mistake.unit == "golden":
            _golden_is_near_the_float_reference(wrong.quantise)
            return
        bench = BENCHES[mistake.unit]
        unit = getattr(wrong, getattr(bench.unit, "__name__", ""), bench.unit)
        simulate(replace(bench, unit=unit).make(), bench.cases[mistake.case])


def test_the_golden_model_is_near_the_float_reference() -> None:
    _golden_is_near_the_float_reference(quantise)


@pytest.mark.parametrize(("unit", "case"), [(bench.name, case) for bench in SMALL for case in bench.cases])
def test_the_small_accelerators_pass(unit: str, case: str) -> None:
    simulate(BENCHES[unit].make(), BENCHES[unit].cases[case])


def test_an_unchanged_module_passes() -> None:
    same = Mistake("nothing", "hdl.quantiser", "kept.eq(", "kept.eq(", "quantiser", "corner_values")
    bench = LIBRARY[same.unit]
    with planted(same) as module:
        simulate(module.Quantiser(), bench.cases[same.case])


@pytest.mark.parametrize("fragment", ["no such line", "m.d.comb"])
def test_a_fragment_that_is_not_there_just_once_is_told(fragment: str) -> None:
    mistake = replace(MISTAKES[0], right=fragment)
    with pytest.raises(pytest.fail.Exception, match="the case must follow the code"):
        _planted(mistake)

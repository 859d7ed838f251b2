"""Instructions and their words."""

from typing import Any

import pytest
from amaranth.lib.data import Const
from hypothesis import given
from hypothesis import strategies as st
from tritforge.hdl.isa import LAYOUT, WORDS, Epilogue, Instruction, Opcode

instructions = st.builds(
    Instruction,
    opcode=st.sampled_from(Opcode),
    address=st.integers(0, 2**32 - 1),
    count=st.integers(0, 2**16 - 1),
    blocks=st.integers(0, 2**16 - 1),
    beats=st.integers(0, 2**32 - 1),
    epilogue=st.sampled_from(Epilogue),
    layered=st.booleans(),
    running=st.booleans(),
    scale=st.booleans(),
    product=st.booleans(),
    own_energy=st.booleans(),
    against_g=st.booleans(),
    slot=st.integers(0, 1),
)


@given(instructions)
def test_the_hardware_reads_every_field_back(instruction: Instruction) -> None:
    words = instruction.words()
    assert len(words) == WORDS
    assert all(0 <= word < 1 << 16 for word in words)
    read: Any = Const(LAYOUT, sum(word << (16 * k) for k, word in enumerate(words)))
    for name, value in vars(instruction).items():
        assert read[name] == int(value)
    assert read.spare == read.spare2 == 0


def test_words_of_a_known_instruction() -> None:
    instruction = Instruction(
        Opcode.MATMUL,
        address=0x12345678,
        count=0xABCD,
        blocks=0x0102,
        beats=0x89ABCDEF,
        epilogue=Epilogue.GLU,
        layered=True,
        running=True,
        against_g=True,
        slot=1,
    )
    # From the low end: opcode 5 and epilogue 5, then the flags in bits 7 to 13.
    first = 0x5 | 5 << 4 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13
    assert instruction.words() == [first, 0x5678, 0x1234, 0xABCD, 0, 0x0102, 0xCDEF, 0x89AB]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"address": 2**32}, "address of ENERGY is 4294967296; 32 bits hold up to 4294967295"),
        ({"count": 65_536}, "count of ENERGY is 65536; 16 bits hold up to 65535"),
        ({"blocks": -1}, "blocks of ENERGY is -1; 16 bits hold up to 65535"),
        ({"beats": 2**40}, "beats of ENERGY is 1099511627776; 32 bits hold up to 4294967295"),
        ({"slot": 2}, "slot of ENERGY is 2; 1 bits hold up to 1"),
    ],
)
def test_a_field_that_does_not_fit_is_refused(fields: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Instruction(Opcode.ENERGY, **fields).words()

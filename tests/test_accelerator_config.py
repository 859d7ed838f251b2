"""Accelerator configurations, their files and presets."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.hdl.config import AcceleratorConfig, presets
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Layout, MemoryMap

CONFIG = AcceleratorConfig(
    name="mine",
    layout=Layout(tables=8, row_block=128),
    hidden=64,
    intermediate=100,
    states=256,
    program_words=256,
    memory_beats=5000,
)
MODEL = ModelConfig(hidden_size=21, num_hidden_layers=3, vocab_size=37, intermediate_size=26)

layouts = st.builds(
    Layout,
    tables=st.integers(1, 512).map(lambda n: 8 * n),
    row_block=st.integers(61, 32_767).map(lambda n: 2 * n),
    dot=st.sampled_from(["lookup", "lutram", "tree"]),
)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
configs = st.builds(
    AcceleratorConfig,
    name=names,
    layout=layouts,
    hidden=st.integers(1, 65_535),
    intermediate=st.integers(1, 32_767),
    states=st.integers(1, 1 << 24),
    program_words=st.integers(8, 1 << 16),
    memory_beats=st.integers(0, 1 << 32),
    vocabulary=st.integers(1, 65_535),
    streams=st.integers(1, 16),
    family=st.sampled_from(["ecp5", "gowin", "xilinx"]),
    vector_width=st.sampled_from([1, 2, 4]),
)


@given(config=configs)
def test_toml_and_dictionary_hold_everything(
    config: AcceleratorConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert AcceleratorConfig.load(path) == config
    assert AcceleratorConfig.from_dict(config.to_dict()) == config


@given(config=configs, other=configs)
def test_the_digest_depends_on_everything_but_the_name(
    config: AcceleratorConfig, other: AcceleratorConfig
) -> None:
    assert replace(config, name=other.name).digest() == config.digest()
    for field, value in vars(other).items():
        if field != "name":
            changed = replace(config, **{field: value})
            assert (changed.digest() == config.digest()) == (value == getattr(config, field))


def test_a_file_without_a_name_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text("\n".join(line for line in CONFIG.to_toml().splitlines() if not line.startswith("name")))
    assert AcceleratorConfig.load(path) == replace(CONFIG, name="board")


def test_what_need_not_be_given_is_one_of_each_memory_outside_and_any_vocabulary() -> None:
    optional = ("memory_beats", "vocabulary", "streams", "family", "vector_width")
    given = {key: value for key, value in CONFIG.to_dict().items() if key not in optional}
    config = AcceleratorConfig.from_dict(given)
    assert (config.memory_beats, config.vocabulary, config.streams, config.family) == (0, 65_535, 1, "ice40")
    assert config.vector_width == 1


@pytest.mark.parametrize(
    ("family", "tables", "dot"),
    [("ice40", 8, "lookup"), ("ecp5", 104, "lookup"), ("ecp5", 112, "tree"), ("xilinx", 4096, "lutram")],
)
def test_a_family_has_its_best_dot_product_unless_another_is_named(
    family: str, tables: int, dot: str
) -> None:
    values = CONFIG.to_dict() | {"family": family, "layout": {"tables": tables, "row_block": 128}}
    assert AcceleratorConfig.from_dict(values).layout == Layout(tables, 128, dot)
    for other in ("lookup", "tree"):
        values["layout"] = Layout(tables, 128, other).to_dict()
        assert AcceleratorConfig.from_dict(values).layout.dot == other


def test_presets_look_sums_up_in_block_ram_for_the_family_that_they_name() -> None:
    configs = [AcceleratorConfig.load(name) for name in presets()]
    assert {config.layout.dot for config in configs} == {"lookup"}
    assert AcceleratorConfig.load("up5k").family == "ice40"


def test_sizes_follow_from_the_parameters() -> None:
    assert CONFIG.beat_bits == 64
    assert CONFIG.vector_depth == 100
    assert CONFIG.activation_words == 15  # 100 columns are three column blocks of 40
    assert replace(CONFIG, hidden=121).activation_words == 20
    # Two slots, each of a power of two.
    assert (CONFIG.slot_bits, CONFIG.activation_depth) == (4, 32)
    assert (replace(CONFIG, hidden=121).slot_bits, replace(CONFIG, hidden=121).activation_depth) == (5, 64)
    # 100 columns are five column blocks of 24, three words each.
    three = replace(CONFIG, layout=Layout(8, 128, "lutram"), family="ecp5")
    assert (three.activation_words, three.beat_bits, three.block_bits) == (15, 64, 3)


@pytest.mark.parametrize(
    ("fields", "elements", "rows", "blocks", "addresses"),
    [
        ({"intermediate": 127, "vocabulary": 1}, 7, 8, 3, 13),  # 254 rows of gate and up; 4 blocks
        ({"intermediate": 128, "vocabulary": 1}, 8, 9, 3, 13),
        ({"hidden": 319, "vocabulary": 319}, 9, 9, 4, 13),
        ({"vocabulary": 1024}, 7, 11, 2, 13),
        ({"memory_beats": 0}, 7, 16, 2, 32),
        ({"memory_beats": 4096}, 7, 16, 2, 12),
        ({"memory_beats": 4097}, 7, 16, 2, 13),
    ],
)
def test_counters_are_as_wide_as_the_largest_number_in_them(
    fields: dict[str, int], elements: int, rows: int, blocks: int, addresses: int
) -> None:
    config = replace(CONFIG, **fields)
    found = config.element_bits, config.row_bits, config.block_bits, config.address_bits
    assert found == (elements, rows, blocks, addresses)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"hidden": 0}, "accelerator mine: hidden must be from 1 to 65535, not 0"),
        ({"hidden": 65_536}, "accelerator mine: hidden must be from 1 to 65535, not 65536"),
        ({"intermediate": 32_768}, "accelerator mine: intermediate must be from 1 to 32767, not 32768"),
        ({"states": (1 << 24) + 1}, "accelerator mine: states must be from 1 to 16777216, not 16777217"),
        ({"program_words": 7}, "accelerator mine: program_words must be from 8 to 65536, not 7"),
        ({"vocabulary": 0}, "accelerator mine: vocabulary must be from 1 to 65535, not 0"),
        ({"vocabulary": 65_536}, "accelerator mine: vocabulary must be from 1 to 65535, not 65536"),
        ({"streams": 0}, "accelerator mine: streams must be from 1 to 16, not 0"),
        ({"streams": 17}, "accelerator mine: streams must be from 1 to 16, not 17"),
        ({"streams": True}, "accelerator mine: streams must be from 1 to 16, not True"),
        ({"vector_width": 0}, "accelerator mine: vector_width must be from 1 to 64, not 0"),
        ({"vector_width": 128}, "accelerator mine: vector_width must be from 1 to 64, not 128"),
        ({"vector_width": 3}, "accelerator mine: vector_width must be a power of two, not 3"),
        (
            {"vector_width": 8},
            "accelerator mine: vector_width must be a divisor of a beat's 4 weights, not 8",
        ),
        (
            {"vector_width": 16, "layout": Layout(24, 128)},
            "accelerator mine: vector_width must be a divisor of a beat's 12 weights, not 16",
        ),
        (
            {"vector_width": 16, "layout": Layout(72, 128, "tree")},
            "accelerator mine: vector_width must be a divisor of a beat's 36 weights, not 16",
        ),
        ({"memory_beats": -1}, "accelerator mine: memory_beats must be from 0 to 4294967296, not -1"),
        ({"hidden": "64"}, "accelerator mine: hidden must be from 1 to 65535, not '64'"),
        ({"hidden": 64.0}, "accelerator mine: hidden must be from 1 to 65535, not 64.0"),
        (
            {"family": "up5k"},
            "accelerator mine: family must be one of ice40, ecp5, gowin, xilinx, not 'up5k'",
        ),
        ({"family": ["ice40"]}, "accelerator mine: family must be one of ice40, .*, not \\['ice40'\\]"),
        (
            {"layout": Layout(8, 128, "lutram")},
            "accelerator mine: iCE40's lookup tables are no memory, so dot must be lookup or tree there,"
            " not lutram",
        ),
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TritforgeError, match=f"^{sentence}$"):
        replace(CONFIG, **fields)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"lanes": 40},
            "an accelerator has no field lanes; it has family, hidden, intermediate, layout, memory_beats,",
        ),
        ({"states": None}, "the accelerator lacks the field states"),
        ({"layout": 8}, "the accelerator's layout must be a table with tables and row_block"),
        ({"layout": {"tables": 8}}, "the layout lacks the field row_block"),
        (
            {"layout": {"tables": 8, "row_block": 128, "lanes": 5}},
            "a layout has no field lanes; it has tables, ",
        ),
        ({"layout": {"tables": 7, "row_block": 128}}, "tables must be a multiple of 8 from 8 to 4096, not 7"),
    ],
)
def test_a_wrong_field_is_refused(change: dict[str, Any], sentence: str) -> None:
    values = {name: value for name, value in (CONFIG.to_dict() | change).items() if value is not None}
    with pytest.raises(TritforgeError, match=f"^{sentence}"):
        AcceleratorConfig.from_dict(values)


def test_a_file_that_is_no_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    for content in (b"hidden = ", b"\xff\xfe", b"hidden = 3\n"):
        path.write_bytes(content)
        with pytest.raises(TritforgeError, match=rf"^{path}: "):
            AcceleratorConfig.load(path)


@pytest.mark.parametrize("source", ["nothing", "nothing.toml", "../nothing.txt"])
def test_an_unknown_accelerator_is_refused_with_the_presets(source: str) -> None:
    with pytest.raises(TritforgeError) as caught:
        AcceleratorConfig.load(source)
    assert (
        str(caught.value) == f"no accelerator {source}: name one of {', '.join(presets())}, or a .toml file"
    )


def test_presets_load_by_name_the_smallest_first() -> None:
    configs = [AcceleratorConfig.load(name) for name in presets()]
    assert [config.name for config in configs] == presets()
    assert presets()[0] == "up5k"
    assert [config.layout.tables for config in configs] == sorted(config.layout.tables for config in configs)


def test_a_model_gets_the_smallest_preset_that_holds_it() -> None:
    assert AcceleratorConfig.smallest_fit(MODEL).name == "up5k"
    for name in presets():
        config = AcceleratorConfig.load(name)
        full = replace_model(MODEL, hidden_size=config.hidden, num_hidden_layers=1)
        if not config.memory_beats:
            assert AcceleratorConfig.smallest_fit(full).name == name


def test_a_model_that_no_preset_holds_is_refused_with_the_numbers() -> None:
    largest = AcceleratorConfig.load(presets()[-1])
    model = replace_model(MODEL, hidden_size=largest.hidden + 1)
    with pytest.raises(
        TritforgeError, match=rf"^no preset holds the model; {largest.name} lacks: hidden size 4,097"
    ):
        AcceleratorConfig.smallest_fit(model)


def replace_model(model: ModelConfig, **fields: int) -> ModelConfig:
    return replace(model, num_heads=1, **fields)


def test_what_does_not_fit_is_told_with_the_numbers() -> None:
    beats = MemoryMap(MODEL, CONFIG.layout).total
    CONFIG.check_fit(MODEL)
    small = replace(CONFIG, hidden=20, intermediate=25, states=62, memory_beats=beats - 1)
    with pytest.raises(TritforgeError) as caught:
        small.check_fit(MODEL)
    assert str(caught.value) == (
        "the model does not fit the accelerator mine: hidden size 21 of at most 20;"
        " intermediate size 26 of at most 25;"
        f" state elements 63 of at most 62; weight memory in bytes {8 * beats:,} of at most {8 * beats - 8:,}"
    )


def test_exactly_fitting_is_fitting() -> None:
    beats = MemoryMap(MODEL, CONFIG.layout).total
    assert replace(CONFIG, hidden=21, intermediate=26, states=63, memory_beats=beats).misfits(MODEL) == []
    assert replace(CONFIG, memory_beats=0).misfits(MODEL) == []


@pytest.mark.parametrize("vocabulary", [36, 37, 1024, 65_535])
def test_a_vocabulary_beyond_the_accelerator_s_is_refused(vocabulary: int) -> None:
    config = replace(CONFIG, memory_beats=0, vocabulary=vocabulary)
    assert config.misfits(replace_model(MODEL, vocab_size=vocabulary)) == []
    assert config.misfits(replace_model(MODEL, vocab_size=vocabulary + 1)) == [
        f"vocabulary {vocabulary + 1:,} of at most {vocabulary:,}"
    ]


def test_a_wide_vector_unit_is_part_of_what_a_build_is_and_one_of_one_element_was_always_there() -> None:
    assert replace(CONFIG, vector_width=2).digest() != CONFIG.digest()
    # Boards that were built before there was a choice must still be known.
    values = {key: value for key, value in CONFIG.to_dict().items() if key not in ("name", "vector_width")}
    text = json.dumps(values, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == CONFIG.digest()

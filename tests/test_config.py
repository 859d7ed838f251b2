"""What decides the logits is honoured or refused by name; the rest is accepted."""

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.models.config import PRESETS, ModelConfig, preset, read_json
from tritforge.models.errors import TritforgeError

UPSTREAM = {"model_type": "hgrn_bit", "architectures": ["HGRNBitForCausalLM"]}


def refused(message: str) -> Any:
    return pytest.raises(TritforgeError, match=re.escape(message))


def test_the_file_that_upstream_wrote_is_read_without_a_warning(model_a: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = ModelConfig.load(model_a / "config.json")
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (64, 2, 256)
    assert (config.intermediate_size, config.num_heads, config.use_lower_bound) == (192, 1, True)
    assert (config.rms_norm_eps, config.bos_token_id, config.eos_token_id) == (1e-6, 1, 2)
    assert config.pad_token_id is None


def test_absent_fields_have_the_defaults_of_upstream() -> None:
    config = ModelConfig.from_dict(UPSTREAM)
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (2048, 24, 32000)
    assert (config.hidden_ratio, config.num_heads, config.use_lower_bound) == (4, 1, True)


@pytest.mark.parametrize("name, sizes", [
    ("370m", (1024, 24, 2816)),
    ("1.3b", (2048, 24, 5632)),
    ("2.7b", (2560, 32, 6912)),
])  # fmt: skip
def test_presets_have_the_published_sizes(name: str, sizes: tuple[int, int, int]) -> None:
    config = preset(name.upper())
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == sizes
    assert config.vocab_size == 32000
    assert config == PRESETS[name]


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with refused("there is no preset '13b'; choose one of 370m, 1.3b, 2.7b"):
        preset("13b")


@pytest.mark.parametrize("d, ratio, width", [
    (96, 4, 256),  # 96 * 4 * 2 / 3 = 256
    (97, 4, 512),  # 258.67
    (160, None, 512),  # null is 4: 426.67
    (384, 1, 256),
    (385, 1, 256),  # 256.67 is cut to 256 first
    (160, 1.5, 256),
])  # fmt: skip
def test_without_an_intermediate_size_the_rule_of_upstream_holds(d: int, ratio: Any, width: int) -> None:
    fields = {**UPSTREAM, "hidden_size": d, "hidden_ratio": ratio, "intermediate_size": None}
    assert ModelConfig.from_dict(fields).intermediate_size == width


@pytest.mark.parametrize("field, value, allowed", [
    ("use_short_conv", True, "false"),
    ("use_short_conv", 0, "false"),
    ("expand_ratio", 2, "1"),
    ("expand_ratio", True, "1"),
    ("expand_ratio", None, "1"),
    ("tie_word_embeddings", True, "false"),
    ("hidden_act", "gelu", '"swish" or "silu"'),
    ("hidden_act", ["swish"], '"swish" or "silu"'),
    ("quantization_config", {"bits": 4}, "null"),
])  # fmt: skip
def test_a_field_that_would_change_the_logits_is_refused_by_name(
    field: str, value: Any, allowed: str
) -> None:
    with refused(f"{field} {json.dumps(value)} is not supported; it must be {allowed}"):
        ModelConfig.from_dict({**UPSTREAM, field: value})


@pytest.mark.parametrize("field, value", [
    ("hidden_act", "silu"), ("expand_ratio", 1.0), ("conv_size", 7), ("attn_mode", "chunk"),
    ("torch_dtype", "bfloat16"), ("transformers_version", "9"), ("use_cache", False),
    ("fuse_cross_entropy", False), ("initializer_range", 1), ("max_position_embeddings", 1),
    ("share_conv_kernel", False), ("pad_token_id", -1), ("bos_token_id", None),
])  # fmt: skip
def test_a_field_that_cannot_change_the_logits_is_accepted(field: str, value: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModelConfig.from_dict({**UPSTREAM, field: value})


def test_unknown_fields_are_warned_about_once_by_name() -> None:
    with pytest.warns(UserWarning, match="ignored: rope_theta, sliding_window") as caught:
        config = ModelConfig.from_dict({**UPSTREAM, "sliding_window": 1, "rope_theta": 2})
    assert len(caught) == 1
    assert config == ModelConfig()


@pytest.mark.parametrize("fields, message", [
    ({}, 'model_type is missing; it must be "hgrn_bit"'),
    ({"model_type": "llama"}, 'model_type must be "hgrn_bit", not "llama"'),
    ({"model_type": "hgrn_bit", "architectures": ["HGRNForCausalLM"]},
     'architectures must name "HGRNBitForCausalLM", not ["HGRNForCausalLM"]'),
    ({"architectures": "HGRNBitForCausalLM"}, "architectures must name"),
])  # fmt: skip
def test_another_kind_of_model_is_refused(fields: dict[str, Any], message: str) -> None:
    with refused(message):
        ModelConfig.from_dict(fields)


@pytest.mark.parametrize("fields, message", [
    ({"hidden_size": 0}, "hidden_size must be an integer from 1 to 131071, not 0"),
    ({"hidden_size": "64"}, 'hidden_size must be an integer from 1 to 131071, not "64"'),
    ({"hidden_size": 64.0}, "not 64.0"),
    ({"hidden_size": True}, "not true"),
    ({"hidden_size": None}, "not null"),
    ({"hidden_size": 10**30}, "hidden_size must be an integer from 1 to 131071"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers must be an integer from 1 to 4096"),
    ({"vocab_size": -1}, "vocab_size must be an integer from 1 to 16777216, not -1"),
    ({"intermediate_size": 0}, "intermediate_size must be an integer from 1 to 131071, not 0"),
    ({"intermediate_size": 131072}, "intermediate_size must be an integer from 1 to 131071, not 131072"),
    ({"intermediate_size": False}, "intermediate_size must be an integer from 1 to 131071, not false"),
    ({"hidden_ratio": 0}, "hidden_ratio must be a number above 0"),
    ({"hidden_ratio": 10**6}, "intermediate_size must be an integer from 1 to 131071"),
    ({"hidden_ratio": math.nan}, "hidden_ratio must be a number above 0"),
    ({"num_heads": 3}, "num_heads 3 must divide hidden_size 2048"),
    ({"num_heads": None}, "num_heads must be an integer from 1 to 2048, not null"),
    ({"use_lower_bound": 1}, "use_lower_bound must be true or false, not 1"),
    ({"rms_norm_eps": 0}, "rms_norm_eps must be a number above 0 and up to 1e6, not 0"),
    ({"rms_norm_eps": math.inf}, "rms_norm_eps must be a number above 0"),
    ({"rms_norm_eps": "1e-6"}, "rms_norm_eps must be a number above 0"),
    ({"bos_token_id": 1.5}, "bos_token_id must be an integer from -1 to 16777216, not 1.5"),
    ({"eos_token_id": [2]}, "eos_token_id must be an integer from -1 to 16777216, not [2]"),
    ({"pad_token_id": -2}, "pad_token_id must be an integer from -1 to 16777216, not -2"),
])  # fmt: skip
def test_a_wrong_type_or_range_is_one_sentence(fields: dict[str, Any], message: str) -> None:
    with refused(message):
        ModelConfig.from_dict({**UPSTREAM, **fields})


def test_a_long_value_is_cut_short_in_the_message() -> None:
    with pytest.raises(TritforgeError) as caught:
        ModelConfig.from_dict({**UPSTREAM, "hidden_size": list(range(10**5))})
    assert len(str(caught.value)) < 200


@given(
    st.builds(
        ModelConfig,
        hidden_size=st.sampled_from([12, 60, 1044]),
        num_hidden_layers=st.integers(1, 4096),
        vocab_size=st.integers(3, 2**24),
        intermediate_size=st.integers(0, 131071),
        hidden_ratio=st.floats(1, 100),
        num_heads=st.sampled_from([1, 2, 3, 4, 12]),
        use_lower_bound=st.booleans(),
        rms_norm_eps=st.floats(1e-12, 1),
        pad_token_id=st.none() | st.just(0),
    )
)
def test_what_is_written_is_read_back(config: ModelConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("content, message", [
    (b"", "is not valid JSON"),
    (b"{", "is not valid JSON"),
    (b"\xff\xfe\xff", "is not valid JSON"),
    (b"[" * 100_000, "is not valid JSON"),
    (b"1" * 10_000, "is not valid JSON"),
    (b"[1]", "must hold a JSON object, not [1]"),
])  # fmt: skip
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with refused(f"{path} {message}"):
        read_json(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with refused(f"{tmp_path} cannot be read: Is a directory"):
        read_json(tmp_path)


def test_an_error_in_a_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "llama"}')
    with refused(f"{path}: model_type must be"):
        ModelConfig.load(path)


@given(st.dictionaries(
    st.sampled_from([*ModelConfig().to_dict()]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["swish", [], {}]),
))  # fmt: skip
def test_no_content_does_worse_than_a_sentence(fields: dict[str, Any]) -> None:
    try:
        ModelConfig.from_dict({**UPSTREAM, **fields})
    except TritforgeError as error:
        assert "\n" not in str(error)

"""A self-checking testbench in plain Verilog, for simulators without Python.

Its memories hold all that it does and compares: weights, program, tokens, settings, and what the golden model
chose and computed. The parts of its text lie in `templates/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from ..hdl.isa import WORD_BITS as PROGRAM_BITS
from ..hdl.registers import ADDRESS_BITS, IDENTITY, WORD_BITS, RegisterMap, Role, weight_channels
from ..models.golden import GoldenModel, Logits
from ..models.image import Image
from ..models.numerics import ACT, Ints, to_scale

__all__ = ["Testbench", "Text", "golden_texts"]

Fields = dict[str, int]

_TEMPLATES = Path(__file__).parent / "templates"
_WEIGHTS_BASE = 0x1_0000
_PATIENCE = 1_000_000
_COUNT_BITS = 32
_SEED = 0xC0FFEE
_REGISTERS = (
    "IDENTITY",
    "FLAGS",
    "TOKENS",
    "RESULTS",
    "RAW",
    "PROGRAM_ADDRESS",
    "PROGRAM",
    "STATE_STREAM",
    "STATE_ADDRESS",
    "STATE",
    "POSITION",
    "WEIGHTS_BASE",
    "IDLE",
)


@dataclass(frozen=True)
class Text:
    """What the testbench does with one text, and what must come of it.

    Parameters
    ----------
    stream, position, start
        Where it begins: its stream; tokens consumed before; (layers, d) state.
    tokens
        `TOKEN` by field, to be pushed.
    settings
        Run settings by name.
    results
        Expected `RESULT`, by field.
    raw
        Expected `RAW_LOGIT`, by field.
    end
        Expected state, (layers, d).
    """

    stream: int
    position: int
    start: Ints
    tokens: list[Fields]
    settings: dict[str, Any]
    results: list[Fields]
    raw: list[Fields]
    end: Ints


def golden_texts(image: Image, streams: int) -> list[Text]:
    """Texts that together use what an accelerator can do, run by the golden model.

    One in the first stream, from the beginning, with raw logits, the likeliest tokens taken; one in the last
    stream that goes on from a state, with tokens drawn at a temperature; and if there are several streams,
    one whose positions pass through all of them together.
    """
    golden = GoldenModel(image)
    prompt = np.random.default_rng(0).integers(0, image.config.vocab_size, 6)
    zero = golden.initial_state()
    _, middle = golden.forward(prompt[:2], zero)
    texts = [
        _generation(golden, 0, 0, zero, prompt[2:4], 2, _sampling(None, streams)),
        _generation(golden, streams - 1, 2, middle, prompt[4:], 3, _sampling(0.8, streams)),
    ]
    if streams > 1:
        texts.append(_chain(golden, np.resize(prompt, streams), _sampling(0.8, streams)))
    return texts


def _sampling(temperature: float | None, streams: int) -> dict[str, Any]:
    """Settings; without a temperature raw logits are wanted."""
    mantissa, exponent = (0, 0) if temperature is None else to_scale(1 / temperature)
    return {
        "sample": int(temperature is not None),
        "emit_raw": int(temperature is None),
        "temperature_mantissa": mantissa,
        "temperature_exponent": exponent,
        "seeds": [_SEED] * streams,
    }


def _generation(
    golden: GoldenModel,
    stream: int,
    position: int,
    start: Ints,
    prompt: NDArray[np.int64],
    new_tokens: int,
    settings: dict[str, Any],
) -> Text:
    """A prompt, and tokens that are chosen and consumed in turn."""
    state, consumed, pending = start, position, prompt
    results: list[Fields] = []
    raw: list[Fields] = []
    for k in range(new_tokens):
        logits, state = golden.forward(pending, state)
        consumed += len(pending)
        results.append(_result(golden, logits, -1, consumed - 1, settings))
        results[-1] |= {"last": int(k == new_tokens - 1), "stream": stream}
        if settings["emit_raw"]:
            sums = logits.sums[-1].tolist()
            raw += [{"sum": total, "row": row, "stream": stream} for row, total in enumerate(sums)]
        pending = np.array([results[-1]["token"]])
    tokens = [{"token": int(token), "stream": stream} for token in prompt]
    tokens[-1] |= {"logits": 1, "new_tokens": new_tokens}
    return Text(stream, position, start, tokens, settings, results, raw, state)


def _chain(golden: GoldenModel, prompt: NDArray[np.int64], settings: dict[str, Any]) -> Text:
    """Positions of one text, a stream each; a token is chosen at each of them."""
    start = golden.initial_state()
    logits, state = golden.forward(prompt, start)
    return Text(
        0,
        0,
        start,
        [{"token": int(token), "logits": 1, "stream": k} for k, token in enumerate(prompt)],
        settings | {"chain": len(prompt)},
        [
            _result(golden, logits, k, k, settings) | {"last": 1, "stream": k}
            for k in range(len(prompt))
        ],
        [],
        state,
    )


def _result(golden: GoldenModel, logits: Logits, k: int, position: int, settings: dict[str, Any]) -> Fields:
    """What is chosen from the logits of row k, which stand at a position."""
    row = slice(k, k + 1 or None)
    one = Logits(logits.sums[row], logits.mantissa[row], logits.exponent[row])
    scale = (settings["temperature_mantissa"], settings["temperature_exponent"])
    token = golden.choose(one, position, scale if settings["sample"] else None, _SEED)
    return {"token": token, "mantissa": int(one.mantissa[0]), "exponent": int(one.exponent[0])}


class Testbench:
    """The testbench of a design, and what its memories hold.

    Parameters
    ----------
    design
        The top module: an `Accelerator` or a `BusAccelerator`.
    signature
        The accelerator's own.
    bus
        ``stream``, or one of `hdl.bus.top.BUSES`.
    image, program, texts
        What it runs.

    Attributes
    ----------
    registers : RegisterMap or None
        Where the host's side is registers.
    word_bits : int
        Width of a word of weights.
    """

    def __init__(
        self,
        design: Any,
        signature: wiring.Signature,
        bus: str,
        image: Image,
        program: list[int],
        texts: list[Text],
    ) -> None:
        self.registers: RegisterMap | None = getattr(design, "registers", None)
        self.word_bits: int = getattr(design, "data_bits", 8 * image.layout.beat_bytes)
        self._stride: int = getattr(design, "stride", image.layout.beat_bytes)
        self._design = design
        self._signature = signature
        self._bus = bus
        self._image = image
        self._program = program
        self._texts = texts

    def memories(self) -> dict[str, Iterator[str]]:
        """Contents of the memories by file name, as ``$readmemh`` reads them."""
        counts = [
            (text.stream, text.position, len(text.tokens), len(text.results), len(text.raw))
            for text in self._texts
        ]
        return {
            "weights.hex": self._weights(),
            "program.hex": _hex(self._program, PROGRAM_BITS),
            "texts.hex": _hex((count for text in counts for count in text), _COUNT_BITS),
            "tokens.hex": _hex(*self._tokens()),
            "settings.hex": _hex(*self._settings()),
            "results.hex": _hex(*self._results()),
            "raw.hex": _hex(*self._raw()),
            "starts.hex": _hex(_elements(text.start for text in self._texts), ACT.bits),
            "ends.hex": _hex(_elements(text.end for text in self._texts), ACT.bits),
        }

    def verilog(self, top: str) -> str:
        """The testbench's text, for a top module of this name."""
        texts = self._texts
        results = sum(len(text.results) for text in texts)
        raws = sum(len(text.raw) for text in texts)
        tokens = sum(len(text.tokens) for text in texts)
        constants: dict[str, Any] = {
            "PROGRAM_WORDS": len(self._program),
            "TEXTS": len(texts),
            "STATES": texts[0].start.size,
            "TOKENS": tokens,
            "TOKEN_WORDS": len(self._tokens()[0]) // tokens,
            "TOKEN_BITS": self._tokens()[1],
            "SETTINGS": len(self._settings()[0]) // len(texts),
            "SETTING_BITS": self._settings()[1],
            "RESULTS": results,
            "RESULT_WORDS": len(self._results()[0]) // results,
            "RESULT_BITS": self._results()[1],
            "RAWS": raws,
            "RAW_WORDS": len(self._raw()[0]) // raws,
            "RAW_BITS": self._raw()[1],
            "PATIENCE": _PATIENCE,
        }
        if self.registers is None:
            host = _template("streams").replace("@PORTS@", self._instance(top))
            memory = self._stream_memories()
        else:
            constants |= self._addresses(self.registers)
            host = _template("registers").replace("@BUS@", _template(self._bus))
            host = host.replace("@PORTS@", self._instance(top))
            memory = self._bus_memory()
        main = _template("main")
        for place, text in (
            ("TOP", top),
            ("CONSTANTS", "\n".join(f"  localparam {name} = {value};" for name, value in constants.items())),
            ("HOST", host),
            ("MEMORY", memory),
        ):
            main = main.replace(f"@{place}@", text)
        kind = "streams" if self.registers is None else self._bus
        return f"{main}\n{_template(f'memory_{kind}')}"

    def _addresses(self, registers: RegisterMap) -> dict[str, str]:
        """Constants from the register map."""
        first = registers.of(Role.SETTING, member="settings")[0]
        return {
            **{f"REG_{name}": f"{ADDRESS_BITS}'h{registers[name].offset:03x}" for name in _REGISTERS},
            "REG_SETTINGS": f"{ADDRESS_BITS}'h{first.offset:03x}",
            **{f"FLAG_{field.name.upper()}": str(field.low) for field in registers["FLAGS"].fields},
            "IDENTITY": f"{WORD_BITS}'h{IDENTITY:08x}",
            "WEIGHTS_BASE": f"{WORD_BITS}'h{_WEIGHTS_BASE:08x}",
        }

    def _ports(self) -> Iterator[tuple[str, bool, int]]:
        """Name, whether an input, and width of each port but clock and reset."""
        for path, member, value in self._design.signature.flatten(self._design):
            yield "__".join(map(str, path)), member.flow == In, len(Value.cast(value))

    def _instance(self, top: str) -> str:
        """Declare the ports' signals, and the design; the weight memory drives some of them."""
        channels = weight_channels(self._signature)
        memory = tuple(f"{name}__" for channel in channels for name in channel)
        if self.registers is not None:
            memory = ("m_",)
        lines = []
        for name, given, bits in self._ports():
            driven_here = given and not name.startswith(memory)
            lines.append(
                f"  {'reg' if driven_here else 'wire'} [{bits - 1}:0] {name}{' = 0' if driven_here else ''};"
            )
        names = ["clk", "rst", *(name for name, _, _ in self._ports())]
        return "\n".join([*lines, f"  {top} dut ({', '.join(f'.{name}({name})' for name in names)});"])

    def _stream_memories(self) -> str:
        """A memory behind each read channel of the accelerator."""
        parameters = {"BEATS": len(self._image.memory), "BITS": self.word_bits}
        lines, moves = [], []
        for request, beats in weight_channels(self._signature):
            ports = {"request": f"{request}__payload", "beats": f"{beats}__payload"}
            ports |= {f"request_{part}": f"{request}__{part}" for part in ("valid", "ready")}
            ports |= {f"beats_{part}": f"{beats}__{part}" for part in ("valid", "ready")}
            lines.append(_weight_memory(f"{request}_memory", parameters, ports))
            moves.append(f"{beats}__valid && {beats}__ready")
        return "\n".join([*lines, f"  assign beat = {' || '.join(moves)};"])

    def _bus_memory(self) -> str:
        """The memory behind the read master."""
        prefix = "m_axi_" if self._bus == "axi" else "m_wb_"
        widths = {
            name.removeprefix(prefix): bits for name, _, bits in self._ports() if name.startswith(prefix)
        }
        parameters = {
            "WORDS": len(self._image.memory) * self._stride * 8 // self.word_bits,
            "BITS": self.word_bits,
            "BASE": _WEIGHTS_BASE,
        }
        if self._bus == "axi":
            parameters["ID_BITS"] = widths["arid"]
            unused = {"arcache", "arprot"}
            beat = "m_axi_rvalid && m_axi_rready"
        else:
            parameters["ADDRESS_BITS"] = widths["adr"]
            unused = {"sel", "cti", "bte"}
            beat = "m_wb_ack"
        ports = {name: f"{prefix}{name}" for name in widths if name not in unused}
        return f"{_weight_memory('memory', parameters, ports)}\n  assign beat = {beat};"

    def _weights(self) -> Iterator[str]:
        """The image, each beat padded to its stride, in words of the memory."""
        size = self.word_bits // 8
        padding = bytes(self._stride - self._image.layout.beat_bytes)
        for beat in self._image.memory:
            data = beat.tobytes() + padding
            for low in range(0, self._stride, size):
                yield f"{data[low : low + size][::-1].hex()}\n"

    def _payload(self, stream: str) -> Any:
        return self._signature.members[stream].signature.members["payload"].shape

    def _tokens(self) -> tuple[list[int], int]:
        """Tokens to push, and their width."""
        return self._elements("tokens", (token for text in self._texts for token in text.tokens))

    def _results(self) -> tuple[list[int], int]:
        """Results expected of all texts."""
        return self._elements("results", (result for text in self._texts for result in text.results))

    def _raw(self) -> tuple[list[int], int]:
        """Raw logits expected of all texts."""
        return self._elements("raw", (logit for text in self._texts for logit in text.raw))

    def _settings(self) -> tuple[list[int], int]:
        """Settings of every text: the whole structure, or a word a register."""
        shape: Any = self._signature.members["settings"].shape
        return self._words("settings", shape, [text.settings for text in self._texts])

    def _elements(self, stream: str, values: Iterable[Fields]) -> tuple[list[int], int]:
        shape = self._signature.members[stream].signature.members["payload"].shape
        return self._words(stream, shape, values)

    def _words(self, member: str, shape: Any, values: Iterable[Any]) -> tuple[list[int], int]:
        """Values of a member as they are seen: whole, or register by register."""
        whole = [int(shape.const(value).as_bits()) for value in values]
        if self.registers is None:
            return whole, shape.size
        roles = (Role.SETTING, Role.HOLD, Role.PUSH, Role.SHOW, Role.TAKE)
        parts = self.registers.of(*roles, member=member)
        return [register.word({member: value}) for value in whole for register in parts], WORD_BITS


def _weight_memory(name: str, parameters: Mapping[str, int], ports: Mapping[str, str]) -> str:
    """Put a weight memory down."""
    values, signals = (
        ", ".join(f".{name}({value})" for name, value in each.items())
        for each in (parameters, {"clk": "clk", "rst": "rst", **ports})
    )
    return f"  weight_memory #({values}) {name} ({signals});"


def _template(name: str) -> str:
    return (_TEMPLATES / f"{name}.v").read_text(encoding="utf-8").rstrip("\n")


def _elements(arrays: Iterable[Ints]) -> Iterator[int]:
    for array in arrays:
        yield from array.ravel().tolist()


def _hex(values: Iterable[int], bits: int) -> Iterator[str]:
    """Lines for ``$readmemh``."""
    mask, digits = (1 << bits) - 1, -(-bits // 4)
    return (f"{value & mask:0{digits}x}\n" for value in values)

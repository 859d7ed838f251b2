"""Train a MatMul-free model on the characters of a text (needs PyTorch: the extra ``train``).

Every stream of a batch reads the whole text, each from a place of its own, and carries its state from one
step to the next; the gradient is cut off at a step's end. The learning rate is constant and falls to 0 in the
last part of the run (warm-up, stable, decay), so a run can be prolonged from any checkpoint that lies before
its decay.
"""

import hashlib
import math
import pickle
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .config import ModelConfig
from .corpus import END, Corpus, split, symbols_of
from .errors import TritforgeError
from .files import replacing
from .loading import Model, load
from .torch_model import TorchModel

__all__ = ["CHECKPOINT", "Progress", "TrainConfig", "Trainer", "sample", "score", "train", "value_ranges"]

CHECKPOINT = "training.pt"
"""The file in the output directory from which an interrupted run goes on."""

_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "use_lower_bound", "rms_norm_eps")

VALIDATION = 50_000  # characters at most
SAVE_EVERY = 120.0  # seconds
VALIDATE_EVERY = 1000  # steps
REPORT_EVERY = 50  # steps


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    Parameters
    ----------
    hidden_size, intermediate_size, num_hidden_layers : int
        The model's shape.
    steps : int
        Updates of the weights.
    batch_size, span : int
        Streams read side by side, and characters of each a step.
    learning_rate : float
        Of AdamW (betas 0.9 and 0.95, no weight decay), in the stable part; straight-through weights want it
        high.
    warm_up : int
        Steps over which the rate rises.
    decay : float
        The share of the steps, at the end, over which the rate falls to 0.
    reset : float
        Chance that a stream's state is cleared before a step: texts that users start have no state before
        them.
    clip : float
        Largest norm of the gradient.
    penalty : float
        Weight, while the rate falls, of what activations have in excess of the hardware's format.
    seed : int
        Of the initial weights and the resets.
    start : str, optional
        A character model of the same shape, by its zoo name or directory, whose weights the run begins with.

    Raises
    ------
    TritforgeError
        If a value is out of range.
    """

    hidden_size: int = 160
    intermediate_size: int = 320
    num_hidden_layers: int = 2
    steps: int = 12_000
    batch_size: int = 32
    span: int = 128
    learning_rate: float = 4e-3
    warm_up: int = 100
    decay: float = 0.3
    reset: float = 0.02
    clip: float = 1.0
    penalty: float = 0.01
    seed: int = 1
    start: str | None = None

    def __post_init__(self) -> None:
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "steps", "batch_size", "span"):
            if getattr(self, name) < 1:
                raise TritforgeError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not (self.learning_rate > 0 and self.clip > 0 and self.warm_up >= 0):
            raise TritforgeError("learning_rate and clip must be above 0, and warm_up not below")
        if self.penalty < 0:
            raise TritforgeError(f"penalty must not be below 0, it is {self.penalty}")
        if not (0 <= self.decay <= 1 and 0 <= self.reset <= 1):
            raise TritforgeError("decay and reset are shares from 0 to 1")

    @property
    def decay_starts(self) -> int:
        """The first step at which the learning rate is below its stable value."""
        return self.steps - int(self.steps * self.decay)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        cool = (self.steps - step) / (self.steps - self.decay_starts) if step >= self.decay_starts else 1.0
        return self.learning_rate * warm * cool


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the step, the loss of late, and what was measured on text not trained on."""

    step: int
    steps: int
    bits_per_char: float
    validation: float | None
    characters_per_second: float


class Trainer:
    """A model in training, with all that the next step depends on.

    Parameters
    ----------
    config : TrainConfig
        How to train.
    text : str
        Prepared text, all of it trained on.
    symbols : str
        The vocabulary; a character's place is its token.
    device : str
        Where torch computes.
    compiled : bool
        Whether to fuse the model with torch.compile.

    Raises
    ------
    TritforgeError
        If the text is shorter than one step's characters.
    """

    def __init__(
        self, config: TrainConfig, text: str, symbols: str, *, device: str = "cpu", compiled: bool = False
    ) -> None:
        self.config, self.symbols = config, symbols
        self.tokens = torch.from_numpy(encode(text, symbols)).to(device)
        if len(self.tokens) < config.batch_size * (config.span + 1):
            raise TritforgeError(
                f"the text has {len(self.tokens)} characters to train on; a step of {config.batch_size} x "
                f"{config.span} needs {config.batch_size * (config.span + 1)}"
            )
        shape = ModelConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            vocab_size=len(symbols),
            bos_token_id=None,
            eos_token_id=symbols.index(END),
        )
        self.model = TorchModel(shape, device=device, seed=config.seed, compiled=compiled)
        self.optimiser = torch.optim.AdamW(
            self.model.weights.values(), betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )
        self.state = self.model.zero_state(config.batch_size)
        self.losses: list[float] = []
        self.seconds = 0.0
        self._digest = hashlib.sha256(text.encode()).hexdigest()
        self._starts = torch.arange(config.batch_size, device=device) * (
            len(self.tokens) // config.batch_size
        )

    def begin_with(self, model: Model) -> None:
        """Take over another model's weights; symbols that it lacks keep their own.

        Raises
        ------
        TritforgeError
            If the model does not read characters, or has another shape.
        """
        before, mine = model.checkpoint.config, self.model.config
        if model.symbols is None:
            raise TritforgeError(
                f"{model.name} does not read characters one by one, so no run can start from it"
            )
        for name in _SHAPE:
            if getattr(before, name) != getattr(mine, name):
                raise TritforgeError(
                    f"{model.name} has {name} {getattr(before, name)}, so a run that starts from it needs "
                    f"the same, not {getattr(mine, name)}"
                )
        shared = [symbol for symbol in self.symbols if symbol in model.symbols]
        rows = [self.symbols.index(symbol) for symbol in shared]
        theirs = [model.symbols.index(symbol) for symbol in shared]
        weights = {}
        for name, own in self.model.weights.items():
            weight = torch.tensor(model.checkpoint.tensor(name)).to(own)
            if name in ("model.embeddings.weight", "lm_head.weight"):
                weights[name] = own.detach().clone()
                weights[name][rows] = weight[theirs]
            else:
                weights[name] = weight
        self.model.load(weights)

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    def advance(self) -> None:
        """Train one step."""
        config, began = self.config, time.perf_counter()
        # The resets of a step depend on its number alone, so a resumed run repeats them.
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        kept = (torch.rand(config.batch_size, generator=generator) >= config.reset).to(self.state)
        reach = torch.arange(config.span + 1, device=self.tokens.device)[:, None] + self.step * config.span
        ids = self.tokens[(self._starts + reach) % len(self.tokens)]

        logits, self.state, excess = self.model.forward(ids[:-1], self.state * kept[None, :, None])
        loss = functional.cross_entropy(logits, ids[1:].reshape(-1))
        self.optimiser.zero_grad(set_to_none=True)
        # Early on the penalty would only slow the weights down: what is too large then shrinks during decay.
        penalty = config.penalty if self.step >= config.decay_starts else 0.0
        (loss + penalty * excess).backward()
        torch.nn.utils.clip_grad_norm_(self.model.weights.values(), config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        self.optimiser.step()
        self.losses.append(loss.item() / math.log(2))
        self.seconds += time.perf_counter() - began

    def save(self, path: Path) -> None:
        """Write all that the next step depends on."""
        kept = {
            "config": asdict(self.config),
            "symbols": self.symbols,
            "text": self._digest,
            "weights": {name: weight.detach() for name, weight in self.model.weights.items()},
            "optimiser": self.optimiser.state_dict(),
            "state": self.state,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "seconds": self.seconds,
        }
        with replacing(path) as stream:
            torch.save(kept, stream)

    def restore(self, path: Path) -> None:
        """Go on from a file that :meth:`save` wrote.

        Raises
        ------
        TritforgeError
            If the file cannot be read, or belongs to another text or another run; only the number of steps
            may differ, as long as neither run's decay has begun.
        """
        try:
            saved: dict[str, Any] = torch.load(path, map_location=self.model.device, weights_only=True)
            before = TrainConfig(**saved["config"])
            losses = saved["losses"].tolist()
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise TritforgeError(f"{path} is not a training checkpoint: {error}") from None
        if saved["text"] != self._digest or saved["symbols"] != self.symbols:
            raise TritforgeError(f"{path} belongs to a run on another text; choose another output directory")
        if replace(before, steps=self.config.steps) != self.config:
            raise TritforgeError(
                f"{path} belongs to a run with other settings; choose another output directory"
            )
        limit = min(before.decay_starts, self.config.decay_starts)
        if before.steps != self.config.steps and len(losses) > limit:
            raise TritforgeError(
                f"{path} has done {len(losses)} of {before.steps} steps, and decay begins at {limit}: "
                "the number of steps can no longer change"
            )
        self.model.load(saved["weights"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state, self.losses, self.seconds = saved["state"], losses, saved["seconds"]


def train(
    corpus: Corpus,
    config: TrainConfig,
    directory: Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trainer:
    """Train on a corpus, going on from the checkpoint in `directory` if there is one.

    Of the corpus, the last 5% are held out and not read here; of what is before them, the last 5%, at most
    50,000 characters, only validate.

    Parameters
    ----------
    corpus : Corpus
        Prepared text.
    config : TrainConfig
        How to train.
    directory : Path
        Where the checkpoint is kept; made if absent. Written every two minutes, when the run ends, and when
        it is interrupted.
    device : str, optional
        Where torch computes; without it, CUDA where there is one.
    threads : int, optional
        Threads of a CPU; small models gain little from more than one.
    report : callable
        Called every 50 steps.

    Returns
    -------
    Trainer
        After the last step.

    Raises
    ------
    TritforgeError
        If the text is too short, or the checkpoint belongs to another run.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    directory.mkdir(parents=True, exist_ok=True)
    text, validation = training_parts(corpus.text)
    symbols = symbols_of(corpus.text)
    compiled = device != "cpu" or shutil.which("g++") is not None
    trainer = Trainer(config, text, symbols, device=device, compiled=compiled)
    path = directory / CHECKPOINT
    if path.exists():
        trainer.restore(path)
    elif config.start is not None:
        trainer.begin_with(load(config.start))
    started, saved = (trainer.step, trainer.seconds), time.monotonic()
    try:
        while trainer.step < config.steps:
            trainer.advance()
            last = trainer.step == config.steps
            if trainer.step % REPORT_EVERY == 0 or last:
                measure = last or trainer.step % VALIDATE_EVERY == 0
                done = (trainer.step - started[0]) * config.batch_size * config.span
                report(
                    Progress(
                        trainer.step,
                        config.steps,
                        float(np.mean(trainer.losses[-REPORT_EVERY:])),
                        score(trainer.model, encode(validation, symbols)) if measure else None,
                        done / (trainer.seconds - started[1]),
                    )
                )
            if time.monotonic() - saved > SAVE_EVERY:
                trainer.save(path)
                saved = time.monotonic()
    finally:
        trainer.save(path)
    return trainer


def training_parts(text: str) -> tuple[str, str]:
    """Split what is not held out into the text trained on and the text that validates."""
    text, _ = split(text)
    cut = len(text) - min(VALIDATION, len(text) // 20)
    return text[:cut], text[cut:]


def encode(text: str, symbols: str) -> NDArray[np.int64]:
    """Turn prepared text into tokens, shape (len(text))."""
    place = {symbol: token for token, symbol in enumerate(symbols)}
    return np.fromiter((place[symbol] for symbol in text), np.int64, len(text))


@torch.no_grad()
def score(model: TorchModel, tokens: NDArray[np.int64], *, span: int = 2048) -> float:
    """Return bits a token of one stream from the zero state, the first token not scored."""
    ids = torch.from_numpy(tokens).to(model.device)
    state = model.zero_state(1)
    nats = 0.0
    for start in range(0, len(ids) - 1, span):
        piece = ids[start : start + span + 1]
        logits, state, _ = model.forward(piece[:-1, None], state)
        nats += float(functional.cross_entropy(logits.double(), piece[1:], reduction="sum"))
    return nats / math.log(2) / (len(ids) - 1)


@torch.no_grad()
def value_ranges(
    model: TorchModel, tokens: NDArray[np.int64], *, span: int = 2048
) -> dict[str, dict[str, float]]:
    """Measure how far the values inside a model reach while it reads tokens.

    Returns
    -------
    dict
        For the residual stream x, the pre-activations i, f, g, gate, up and the state h, over all layers: the
        largest magnitude ("max") and the one that 99.99% stay below ("p99.99").
    """
    seen: dict[str, list[Tensor]] = {}

    def observe(name: str, values: Tensor) -> None:
        seen.setdefault(name, []).append(values.abs().flatten())

    state = model.zero_state(1)
    ids = torch.from_numpy(tokens).to(model.device)
    for start in range(0, len(ids), span):
        piece = ids[start : start + span, None]
        _, state, _ = model.forward(piece, state, observe)
    ranges = {}
    for name, parts in seen.items():
        values = torch.cat(parts).cpu().numpy()
        ranges[name] = {"max": float(values.max()), "p99.99": float(np.quantile(values, 0.9999))}
    return ranges


@torch.no_grad()
def sample(
    model: TorchModel, symbols: str, *, prompt: str, length: int, temperature: float, seeds: Sequence[int]
) -> list[str]:
    """Write text: `length` characters behind the prompt, once a seed, going on past `END`.

    Parameters
    ----------
    model : TorchModel
        Any.
    symbols : str
        Its vocabulary.
    prompt : str
        Prepared text, not empty; not part of what is returned.
    length : int
        Characters.
    temperature : float
        Above 0.
    seeds : sequence of int
        One a text.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    ids = torch.from_numpy(encode(prompt, symbols))[:, None].expand(-1, len(seeds)).to(model.device)
    state = model.zero_state(len(seeds))
    written = []
    for _ in range(length):
        logits, state, _ = model.forward(ids, state)
        chances = torch.softmax(logits[-len(seeds) :] / temperature, -1).cpu()
        drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(chances, generators, strict=True)]
        ids = torch.stack(drawn, 1).to(model.device)
        written.append(ids[0].tolist())
    return ["".join(symbols[token] for token in text) for text in zip(*written, strict=True)]

"""Turn a finished training run into a checkpoint directory with its model card.

The card's numbers are measured on the exported weights, as float16 holds them: they are what ships.
"""

import json
import platform
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from .baselines import kneser_ney_bits, xz_bits
from .config import read_json
from .corpus import END, END_TOKEN, REPLACEMENTS, Corpus, split, words
from .files import replacing
from .loading import load
from .torch_model import TorchModel, ternary
from .training import Trainer, encode, sample, score, training_parts, value_ranges

__all__ = ["character_tokenizer", "halved", "publish", "readme"]

TERNARY = ("proj.weight", "lm_head.weight")  # ends of the names of matrices that become ternary
TEMPERATURE = 0.8
SEEDS = (0, 1, 2)
WRITTEN = 2000  # characters a seed
SHOWN = 500  # of them in the card
RANGED = 20_000  # held-out characters over which values inside the model are watched


def publish(trainer: Trainer, corpus: Corpus, directory: Path, *, name: str, command: str) -> dict[str, Any]:
    """Write a checkpoint directory: float16 weights, tokenizer, loss curve, and a card of what is measured.

    Parameters
    ----------
    trainer : Trainer
        A finished run.
    corpus : Corpus
        What it was trained on.
    directory : Path
        Where the checkpoint goes; made if absent.
    name : str
        What the card calls the model.
    command : str
        How to train it again.

    Returns
    -------
    dict
        The card's numbers, as in card.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = trainer.model.config
    weights = {name: halved(name, weight.detach()).cpu() for name, weight in trainer.model.weights.items()}
    file = directory / "model.safetensors"
    with replacing(file) as stream:
        stream.write(save(weights, {"format": "pt"}))
    end = config.eos_token_id
    _write_json(directory / "config.json", {**config.to_dict(), "torch_dtype": "float16"})
    _write_json(
        directory / "generation_config.json",
        {"do_sample": True, "eos_token_id": end, "temperature": TEMPERATURE},
    )
    _write_json(
        directory / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": END_TOKEN,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    _write_text(directory / "tokenizer.json", character_tokenizer(trainer.symbols).to_str(pretty=True) + "\n")

    shipped = TorchModel(config)
    shipped.load(load_file(file))
    card = {
        "name": name,
        "model": _model_facts(trainer),
        "corpus": _corpus_facts(corpus),
        "training": _training_facts(trainer, command),
        **_quality(shipped, trainer, corpus),
    }
    _plot_losses(trainer, directory / "loss.png")
    _write_json(directory / "card.json", card)
    _write_text(directory / "README.md", readme(card))
    return card


def halved(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Round a tensor to float16 so that it still becomes the same trits.

    Training leaves many weights beside the boundary between two trits, across which they went back and
    forth until the learning rate was 0. Rounded to the nearest float16 number, 400 to 1,600 weights of each
    shipped model cross it, which costs 0.006 to 0.10 bits a character (measured on validation text).

    Parameters
    ----------
    name : str
        The tensor's; only matrices of BitLinears become ternary.
    weight : Tensor of float32
        Master weights.

    Returns
    -------
    Tensor of float16
        Weights nearer to the boundary than 2**-9 of it are moved to that distance, on their side.
    """
    if not name.endswith(TERNARY):
        return weight.half()
    boundary = weight.abs().mean() / 2
    size, margin = weight.abs(), boundary * 2**-9
    size = torch.where(
        ternary(weight) == 0, size.clamp(max=boundary - margin), size.clamp(min=boundary + margin)
    )
    return torch.copysign(size, weight).half()


def character_tokenizer(symbols: str) -> Tokenizer:
    """Make a tokenizer whose tokens are characters.

    It maps typographic quotes, dashes and ellipses to ASCII and strips accents, as the preparation of the
    training text does; any other character outside `symbols` is an error to it.

    Parameters
    ----------
    symbols : str
        The vocabulary; a character's place is its token, and `END` is written as `END_TOKEN`.
    """
    vocabulary = {END_TOKEN if symbol == END else symbol: token for token, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    replaced = [normalizers.Replace(found, written) for found, written in REPLACEMENTS.items()]
    tokenizer.normalizer = normalizers.Sequence([*replaced, normalizers.NFKD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(END_TOKEN, special=True, normalized=False)])
    return tokenizer


def _model_facts(trainer: Trainer) -> dict[str, Any]:
    config = trainer.model.config
    matrices = [w for name, w in trainer.model.weights.items() if name.endswith(TERNARY)]
    return {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "vocab_size": config.vocab_size,
        "trits": sum(matrix.numel() for matrix in matrices),
    }


def _corpus_facts(corpus: Corpus) -> dict[str, Any]:
    source = corpus.source
    return {
        "file": corpus.file,
        "sha256": corpus.sha256,
        "title": source.title if source else corpus.file,
        "source": source.found if source else "a file of the user",
        "licence": source.licence if source else "not known",
        "preparation": corpus.preparation,
        "characters": len(corpus.text),
        "dropped": corpus.dropped,
        "split": "the last 5%, in one piece, are held out; the last 5% before them, at most 50,000 "
        "characters, were not trained on either and watched the training",
    }


def _training_facts(trainer: Trainer, command: str) -> dict[str, Any]:
    config = trainer.config
    return {
        "command": command,
        "steps": trainer.step,
        "batch_size": config.batch_size,
        "span": config.span,
        "learning_rate": config.learning_rate,
        "decay": config.decay,
        "start": config.start,
        "before": _training_before(config.start),
        "seed": config.seed,
        "characters": trainer.step * config.batch_size * config.span,
        "minutes": round(trainer.seconds / 60, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "tokenizers": version("tokenizers"),
        },
    }


def _training_before(start: str | None) -> dict[str, Any] | None:
    """Return how the model was trained with whose weights a run began, if its card says so."""
    if start is None:
        return None
    card = load(start).checkpoint.directory / "card.json"
    before: dict[str, Any] | None = read_json(card)["training"] if card.exists() else None
    return before


def _quality(model: TorchModel, trainer: Trainer, corpus: Corpus) -> dict[str, Any]:
    """Measure a model on held-out text, next to the baselines, and what it writes."""
    trained, held_out = split(corpus.text)
    _, validation = training_parts(corpus.text)
    tokens = encode(held_out, trainer.symbols)
    bits = score(model, tokens)
    counted = kneser_ney_bits(trained, held_out)
    best = min(counted, key=counted.__getitem__)
    # A line's beginning is learnt better than a text's, of which there are few.
    prompt = "\n" if "\n" in trainer.symbols else END
    texts = sample(
        model, trainer.symbols, prompt=prompt, length=WRITTEN, temperature=TEMPERATURE, seeds=SEEDS
    )
    known = words(trained)
    # The last word may be cut off.
    written = [words(text[: -len(text.split()[-1])]) for text in texts]
    return {
        "quality": {
            "held_out_characters": len(held_out),
            "bits_per_char": bits,
            "perplexity": 2.0**bits,
            "validation_bits_per_char": score(model, encode(validation, trainer.symbols)),
            "xz_bits_per_char": xz_bits(trained, held_out),
            "kneser_ney_bits_per_char": {str(order): value for order, value in counted.items()},
            "kneser_ney_best_order": best,
            "kneser_ney_best_bits_per_char": counted[best],
        },
        "words": {
            "characters": WRITTEN,
            "temperature": TEMPERATURE,
            "seeds": list(SEEDS),
            "distinct": [len(found) for found in written],
            "known_share": [len(found & known) / len(found) for found in written],
        },
        "value_ranges": value_ranges(model, tokens[:RANGED]),
        "samples": [text[:SHOWN].replace(END, f"\n{END_TOKEN}\n") for text in texts],
    }


def readme(card: dict[str, Any]) -> str:
    """Write a model card for people from the numbers of card.json."""
    model, corpus, training = card["model"], card["corpus"], card["training"]
    quality, written = card["quality"], card["words"]
    rivals = {
        "xz": quality["xz_bits_per_char"],
        f"Kneser-Ney of order {quality['kneser_ney_best_order']}": quality["kneser_ney_best_bits_per_char"],
    }
    rival = min(rivals, key=rivals.__getitem__)
    margin = rivals[rival] - quality["bits_per_char"]
    verdict = (
        f"That is {abs(margin):.3f} {'below' if margin > 0 else 'above'} {rival}, the better of the others."
    )
    dropped = ", ".join(f"{json.dumps(c, ensure_ascii=False)} ({n})" for c, n in corpus["dropped"].items())
    ranges = "\n".join(
        f"| {name} | {values['max']:.2f} | {values['p99.99']:.2f} |"
        for name, values in card["value_ranges"].items()
    )
    samples = "\n\n".join(
        f"Seed {seed}:\n\n```text\n{text.strip()}\n```"
        for seed, text in zip(written["seeds"], card["samples"], strict=True)
    )
    shares = ", ".join(
        f"{share:.1%} of {n}" for share, n in zip(written["known_share"], written["distinct"], strict=True)
    )
    orders = "\n".join(
        f"| interpolated Kneser-Ney, order {order} | {bits:.3f} |"
        for order, bits in quality["kneser_ney_bits_per_char"].items()
    )
    versions = ", ".join(f"{package} {number}" for package, number in training["versions"].items())
    runs = [training]
    while runs[0]["before"]:
        runs.insert(0, runs[0]["before"])
    commands = "\n".join(run["command"] for run in runs)
    last = "The last run: " if len(runs) > 1 else ""
    layers = f"{model['num_hidden_layers']} layer" + ("s" if model["num_hidden_layers"] > 1 else "")
    seeds = ", ".join(map(str, written["seeds"]))
    paragraphs = {
        "model": f"""A MatMul-free language model (HGRNBitForCausalLM) that reads and writes characters:
            hidden size {model["hidden_size"]}, intermediate size {model["intermediate_size"]}, {layers},
            {model["vocab_size"]} symbols, {model["trits"]:,} ternary weights. The file holds the float16
            master weights, which become ternary when they are read. All numbers of this page:
            `card.json`.""",
        "training": f"""{last}{training["steps"]:,} steps of {training["batch_size"]} x {training["span"]}
            characters ({training["characters"] / 1e6:.1f} million in all), learning rate
            {training["learning_rate"]}, falling to 0 over the last {training["decay"]:.0%}, seed
            {training["seed"]}; {training["minutes"]:.0f} minutes (measured). Made with {versions}; on another
            processor or with other versions the last bits of sums differ, and with them the weights.""",
        "words": f"""Of the distinct words in {written["characters"]:,} characters written at temperature
            {written["temperature"]}, seeds {seeds}, so many occur in the training text: {shares}.""",
    }
    text = {name: textwrap.fill(" ".join(words.split()), 110) for name, words in paragraphs.items()}
    return f"""# {card["name"]}

{text["model"]}

Licence of the weights: MIT.

## Text

- {corpus["title"]}.
- Source: {corpus["source"]}.
- Licence of the text: {corpus["licence"]}.
- File: `{corpus["file"]}`, sha256 `{corpus["sha256"]}`.
- Preparation: {corpus["preparation"]} Dropped here: {dropped or "nothing"}.
- {corpus["characters"]:,} characters; {corpus["split"]}.

A prompt's characters are mapped in the same way; one outside the vocabulary is refused.

## Training

```sh
{commands}
```

{text["training"]}

![Training loss](loss.png)

## Quality (measured)

On {quality["held_out_characters"]:,} held-out characters, read as one stream:

| | bits a character |
| --- | --- |
| this model | {quality["bits_per_char"]:.3f} |
| xz -9e (size of both parts minus the first) | {quality["xz_bits_per_char"]:.3f} |
{orders}

{verdict}

{text["words"]}

Magnitudes inside the float model on held-out text:

| | maximum | 99.99% are below |
| --- | --- | --- |
{ranges}

(x: residual stream; i, f, g, gate, up: before their nonlinearities; h: state.)

## Samples

Temperature {written["temperature"]}, from the start of a line, not selected.

{samples}
"""


def _plot_losses(trainer: Trainer, path: Path) -> None:
    """Draw the training loss, averaged over 50 steps."""
    losses = np.array(trainer.losses)
    width = min(50, len(losses))
    smooth = losses[: len(losses) // width * width].reshape(-1, width).mean(1)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot((np.arange(len(smooth)) + 0.5) * width, smooth, linewidth=1)
    axes.axvline(trainer.config.decay_starts, color="grey", linewidth=0.5)
    axes.set(
        xlabel="step",
        ylabel="training loss, bits a character",
        ylim=(None, smooth[0] if len(smooth) < 8 else smooth[4]),
    )
    software = {"Software": f"matplotlib {matplotlib.__version__}"}
    with replacing(path) as stream:
        figure.savefig(stream, format="png", dpi=100, metadata=software)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as stream:
        stream.write(text.encode())

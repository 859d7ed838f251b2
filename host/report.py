"""Tables of figures: for the screen, and for documents in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .console import print_table

if TYPE_CHECKING:
    from ..models.config import ModelConfig
    from ..models.image import Layout

__all__ = ["TABLES", "Table", "print_sizes"]

Results = Mapping[str, Any]
"""What `benchmark.measure` returns."""


@dataclass(frozen=True)
class Table:
    """Figures, and how they were obtained.

    Parameters
    ----------
    caption
        Says so: measured, simulated, routed, estimated or published.
    head
        Names of the columns.
    rows
        Cells.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def print(self) -> None:
        """Show the table on standard output."""
        click.echo(self.caption)
        print_table(self.rows, self.head)

    def markdown(self) -> str:
        """Return the table for a document, its caption below it."""
        columns = zip(*self.rows, strict=True)
        numbers = [all(cell[:1].isdigit() or cell == _NONE for cell in column) for column in columns]
        rule = ["---:" if right else "---" for right in numbers]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.head, rule, *self.rows)]
        return "\n".join([*lines, "", f"*{self.caption}*"])


_NONE = "–"


def _summary(results: Results) -> Table:
    rows = []
    for name, each in results["models"].items():
        if (quality := each["quality"]) is not None:
            rows.append(
                (
                    f"`{name}`",
                    f"{each['trits']:,}",
                    f"{quality['bits_per_char']:.3f}",
                    f"{quality['xz_bits_per_char']:.3f}",
                    f"{quality['kneser_ney_best_bits_per_char']:.3f}",
                    f"{each['hardware']['cycles_per_token']:,.0f}",
                    f"{each['hardware']['lane_use']:.1%}",
                )
            )
    head = ("model", "trits", "bits a character", "xz -9e", "Kneser-Ney", "cycles a token", "lane use")
    caption = (
        "Bits a character on held-out text: measured, by the trainer."
        " Cycles and lane use: simulated, on the UP5K preset."
    )
    return Table(caption, head, rows)


def _quality(results: Results) -> Table:
    rows = []
    for name, each in results["models"].items():
        if (quality := each["quality"]) is not None:
            best = quality["kneser_ney_best_order"]
            rivals = quality["xz_bits_per_char"], quality["kneser_ney_best_bits_per_char"]
            better = min(rivals) - quality["bits_per_char"]
            rows.append(
                (
                    f"`{name}`",
                    f"{quality['held_out_characters']:,}",
                    f"{quality['bits_per_char']:.3f}",
                    f"{rivals[0]:.3f}",
                    f"{rivals[1]:.3f} (order {best})",
                    f"{abs(better):.3f} {'below' if better > 0 else 'above'}",
                )
            )
    head = ("model", "held-out characters", "bits a character", "xz -9e", "Kneser-Ney", "the better of these")
    return Table("Measured by the trainer on the float model; from the model cards.", head, rows)


def _fidelity(results: Results) -> Table:
    rows = []
    for name, each in results["models"].items():
        if (found := each["fidelity"]) is not None:
            text = found["over"] == "held-out text"
            rows.append(
                (
                    f"`{name}`",
                    f"{found['tokens']:,}",
                    found["over"],
                    f"{found['perplexity_ratio']:.5f}" if text else _NONE,
                    f"{found['argmax_equal']:.2%}",
                    f"{found['cosine_mean']:.5f}",
                    f"{found['cosine_lowest']:.5f}",
                    f"{found['saturations']:,}",
                )
            )
    head = (
        "model", "positions", "of", "perplexity, golden by float", "same most likely token", "cosine, mean",
        "cosine, lowest", "saturations",
    )  # fmt: skip
    caption = "Measured: the golden model against the float reference, teacher-forced, as one stream."
    return Table(caption, head, rows)


def _hardware(results: Results) -> Table:
    rows = []
    for name, each in results["models"].items():
        found = each["hardware"]
        rows.append(
            (
                f"`{name}`",
                found["accelerator"],
                str(found["lanes"]),
                f"{each['trits']:,}",
                f"{found['cycles_per_token']:,.0f}",
                f"{found['lane_use']:.1%}",
                f"{found['image_bytes']:,}",
            )
        )
    head = ("model", "preset", "lanes", "trits", "cycles a token", "lane use", "image, bytes")
    caption = (
        "Cycles and lane use: simulated, in generation, with a weight memory that always has a beat."
        " Lane use: unpadded trits by lanes times cycles. Image: what the weight memory holds, measured."
    )
    return Table(caption, head, rows)


def _speed(results: Results) -> Table:
    rows = []
    for name, each in results["models"].items():
        speed = each["speed"]
        rows.append(
            (
                f"`{name}`",
                f"{speed['rtl'] / speed['golden']:.3f}",
                f"{speed['rtl'] * each['trits']:.1e}",
                f"{speed['rtl'] * each['hardware']['cycles_per_token']:.1e}",
                *(f"{speed[engine]:,.0f}" for engine in ("rtl", "golden", "float")),
            )
        )
    head = (
        "model", "RTL by golden", "RTL, ternary MACs/s", "RTL, cycles/s", "RTL, tokens/s", "golden, tokens/s",
        "float, tokens/s",
    )  # fmt: skip
    caption = (
        "Measured: token by token, the engines in turn, the best of three rounds of each."
        " Speeds depend on the machine."
    )
    return Table(caption, head, rows)


def _causes(results: Results) -> Table:
    measured = {f"`{name}`": each["hardware"] for name, each in results["models"].items()}
    measured |= {f"two layers of {name}": each for name, each in results["shapes"].items()}
    cycles = [each["causes"] for each in measured.values()]
    totals = [sum(causes.values()) for causes in cycles]
    found = {cause: [causes[cause] for causes in cycles] for cause in cycles[0]}
    found["not fed"] = [total - causes["fed"] for total, causes in zip(totals, cycles, strict=True)]
    rows = [
        (
            cause,
            *(
                f"{spent:,.0f} ({spent / total:.1%})" if spent else _NONE
                for spent, total in zip(each, totals, strict=True)
            ),
        )
        for cause, each in found.items()
    ]
    rows.append(("together", *(f"{total:,.0f}" for total in totals)))
    caption = (
        "Cycles a token, and their share: simulated, in generation, on the smallest preset that holds the"
        " model, with a weight memory that always has a beat. Layers of published shapes have random weights."
    )
    return Table(caption, ("cause", *measured), rows)


def _sizes(results: Results) -> Table:
    rows = [
        (name, *(f"{size:,}" for size in report["bytes"].values()))
        for name, report in results["sizes"].items()
    ]
    head = ("model", *next(iter(results["sizes"].values()))["bytes"])
    caption = "Bytes with padding, estimated: from the layout of the smallest preset that holds the model."
    return Table(caption, head, rows)


def _tenfold(results: Results) -> Table:
    rows = [
        (
            name,
            each["name"],
            f"{each['float16_bytes']:,}",
            f"{each['bytes']:,}",
            f"{each['ratio']:.2f}",
            "yes" if each["passes_10x"] else "no",
        )
        for name, report in results["sizes"].items()
        for each in report["comparisons"]
    ]
    head = ("model", "compared with", "its bytes", "bytes here", "ratio", "10 or more")
    passed = [each["name"] for each in results["sizes"]["1.3b"]["comparisons"] if each["passes_10x"]]
    caption = (
        "Estimated: sizes alone, computed from the shapes. The 1.3B model passes the paper's factor of 10"
        f" against: {'; '.join(passed) or 'none of these'}."
    )
    return Table(caption, head, rows)


def _run(results: Results) -> Table:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    machine = results["machine"]
    rows = [
        ("command", f"`{results['command']}`"),
        ("date", results["date"]),
        ("versions", versions),
        (
            "machine",
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; load average"
            f" {machine['load_average'][0]:.1f} at the start, {machine['load_average'][1]:.1f} at the end",
        ),
    ]
    return Table("How the figures of this page were measured.", ("what", "value"), rows)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "run": _run,
    "summary": _summary,
    "quality": _quality,
    "fidelity": _fidelity,
    "hardware": _hardware,
    "causes": _causes,
    "speed": _speed,
    "sizes": _sizes,
    "tenfold": _tenfold,
}
"""By the name that a document's mark gives."""


def print_sizes(config: ModelConfig, layout: Layout) -> None:
    """Print what a model takes in an accelerator's memory, next to float16."""
    from ..models.image import size_report

    report = size_report(config, layout)
    print_table([(name, f"{size:,} bytes") for name, size in report["bytes"].items()])
    click.echo()
    print_table(
        [
            (each["name"], f"{each['float16_bytes']:,}", f"{each['bytes']:,}", f"{each['ratio']:.2f}x")
            for each in report["comparisons"]
        ],
        ("compared with (estimated: sizes alone)", "bytes", "here", "ratio"),
    )

"""Where a token's cycles go."""

from __future__ import annotations

from collections.abc import Sequence

from .engine import RtlEngine

__all__ = ["profile"]


def profile(
    engine: RtlEngine, prompt: Sequence[int], generated: int, temperature: float | None = None
) -> dict[str, float]:
    """Generate a text, and count what its cycles went for.

    Parameters
    ----------
    engine
        Begins a new text.
    prompt
        Its cycles are not counted, but for those of its last token.
    generated
        Tokens to generate, at least one.
    temperature
        See `Engine.generate`.

    Returns
    -------
    dict
        Cycles a token, simulated, for each of `hdl.accelerator.CAUSES`; together they are the engine's
        `cycles_per_token`.
    """
    engine.reset()
    for _ in engine.generate(prompt, 0):
        pass
    before = engine.causes
    for _ in engine.generate([], generated, temperature=temperature):
        pass
    return {cause: (cycles - before[cause]) / generated for cause, cycles in engine.causes.items()}

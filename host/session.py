"""From a model and the name of an engine to the engine, ready to run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..models.engine import Engine
from ..models.image import Image
from ..models.loading import Model
from ..models.software import FloatEngine, GoldenEngine
from .console import note, progress

# Hardware and simulation are imported where they are used: the other engines run without them.
if TYPE_CHECKING:
    from ..hdl.config import AcceleratorConfig
    from ..sim.engine import RtlEngine

__all__ = ["open_accelerator", "open_engine", "open_image", "open_rtl"]


def open_engine(model: Model, name: str, accel: str | None = None, streams: int | None = None) -> Engine:
    """Return the engine of a name: ``float``, ``golden`` or ``rtl``, the last as `open_accelerator` has it.

    Raises
    ------
    TritforgeError
        If the engine cannot run the model.
    """
    if name == "float":
        return FloatEngine(model.checkpoint)
    if name == "golden":
        return GoldenEngine(model.integers)
    return open_rtl(model, open_accelerator(model, accel, streams))


def open_accelerator(model: Model, name: str | None, streams: int | None = None) -> AcceleratorConfig:
    """Return the accelerator that the user named, else the smallest preset that holds the model.

    It has its own number of streams unless the user gave another.

    Raises
    ------
    TritforgeError
        If there is no such accelerator, or it is too small for the model.
    """
    from ..hdl.config import AcceleratorConfig, presets

    if name is not None:
        config = AcceleratorConfig.load(name)
        config.check_fit(model.config)
    else:
        config = AcceleratorConfig.smallest_fit(model.config)
        if isinstance(model.source, Image) and config.layout != model.source.layout:
            # The smallest would need the image laid out anew; a larger preset may read it as it is.
            layout = model.source.layout
            fitting = (
                each for each in map(AcceleratorConfig.load, presets()) if not each.misfits(model.config)
            )
            config = next((each for each in fitting if each.layout == layout), config)
        note(f"accelerator: {config.name} (the smallest preset that holds the model)")
    return config if streams is None else replace(config, streams=streams)


def open_image(model: Model, config: AcceleratorConfig) -> Image:
    """Return the model laid out for an accelerator."""
    with progress("packing") as report:
        return model.image(config.layout, report)


def open_rtl(model: Model, config: AcceleratorConfig) -> RtlEngine:
    """Return the simulated accelerator with the model in its memory."""
    from ..sim.engine import RtlEngine

    return RtlEngine(open_image(model, config), config)

"""Verilog of an Amaranth component, the same text on every machine."""

import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from .tools import run_yosys

__all__ = ["to_verilog"]

# The passes that Amaranth's own exporter runs; here they run in the yosys that also synthesises.
_ATTRIBUTES = " ".join(
    f"-remove {name}" for name in ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")
)
_SCRIPT = f"""
read_rtlil design.il
proc -nomux -norom
memory_collect
attrmap {_ATTRIBUTES}
attrmap -modattr {_ATTRIBUTES}
write_verilog -norename design.v
"""


def to_verilog(component: Component, name: str = "top") -> str:
    """Verilog text of a component and all below it.

    The text depends on the component and on the tools' versions alone: it carries no paths and no times, so
    it can be part of a cache's key.

    Parameters
    ----------
    component
        The ports are the members of its signature; nested names are joined by two underscores. A clock domain
        `sync` adds `clk` and `rst`.
    name
        Name of the top module.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "design.il").write_text(rtlil.convert(component, name=name, emit_src=False))
        run_yosys(_SCRIPT, folder)
        return (folder / "design.v").read_text()

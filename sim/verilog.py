"""Verilog of an Amaranth component, the same text on every machine."""

import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from .tools import run_yosys

__all__ = ["to_verilog", "with_collisions"]

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

_COLLISIONS = """
read_verilog design.v
proc
opt_clean
memory_dff -no-rw-check
write_verilog -noattr -norename collisions.v
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


def with_collisions(verilog: str) -> str:
    """A design as ``-no-rw-check`` lets synthesis build it: a read that meets a write of its word gives x.

    Block RAMs don't promise what such a read gives. Without the promise synthesis needs no logic around them,
    and simulation must show that nobody uses what was read so.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "design.v").write_text(verilog)
        run_yosys(_COLLISIONS, folder)
        return (folder / "collisions.v").read_text()

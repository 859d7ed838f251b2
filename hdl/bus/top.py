"""The accelerator with its buses: what is put into a system on a chip."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..accelerator import CAUSES, Accelerator
from ..registers import RegisterMap, host_members, register_map, weight_channels
from .axi import AxiLiteSlave, AxiReader
from .bursts import beat_stride
from .host import HostRegisters
from .wishbone import WishboneReader, WishboneSlave

__all__ = ["BUSES", "BusAccelerator"]

BUSES = ("axi", "wishbone")
"""Buses by name."""


class BusAccelerator(wiring.Component):
    """An accelerator behind registers, with a read master for its weights.

    Ports are named as tools expect them: ``s_axi_...`` and ``m_axi_...``, or ``s_wb_...`` and ``m_wb_...``.

    Parameters
    ----------
    accelerator
        What is put on the bus.
    bus
        One of `BUSES`.

    Attributes
    ----------
    registers : RegisterMap
        What the slave's addresses mean.
    data_bits : int
        Width of the master's data.
    stride : int
        Bytes from one weight beat to the next in memory.
    """

    def __init__(self, accelerator: Accelerator, bus: str) -> None:
        self._accelerator = accelerator
        config, signature = accelerator.config, accelerator.signature
        self._channels = weight_channels(signature)
        self.stride = beat_stride(config.beat_bits)
        self._slave: Any
        self._reader: Any
        if bus == "axi":
            self._slave, self._reader = AxiLiteSlave(), AxiReader(len(self._channels), config.beat_bits)
        else:
            self._slave, self._reader = WishboneSlave(), WishboneReader(len(self._channels), config.beat_bits)
        self.data_bits: int = self._reader.data_bits
        memory = {"weights_base": In(self._reader.base.shape()), "memory_error": Out(1)}
        self.registers: RegisterMap = register_map(signature, config.digest(), memory, CAUSES)
        self._members = {**host_members(signature), **memory}
        suffix = "axi" if bus == "axi" else "wb"
        self._buses = {f"s_{suffix}": self._slave.bus, f"m_{suffix}": self._reader.bus}
        super().__init__(
            {
                f"{prefix}_{name}": member
                for prefix, inner in self._buses.items()
                for name, member in inner.signature.members.items()
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = accelerator = self._accelerator
        m.submodules.slave = slave = self._slave
        m.submodules.reader = reader = self._reader
        m.submodules.registers = registers = HostRegisters(self.registers, self._members)
        connect(m, slave.port, registers.port)
        for name, member in self._members.items():
            if name in accelerator.signature.members:
                ours, theirs = getattr(accelerator, name), getattr(registers, name)
                if member.is_signature:
                    connect(m, ours, theirs)
                else:
                    m.d.comb += ours.eq(theirs) if member.flow == In else theirs.eq(ours)
        m.d.comb += [reader.base.eq(registers.weights_base), registers.memory_error.eq(reader.error)]
        for k, (request, beats) in enumerate(self._channels):
            connect(m, getattr(accelerator, request), reader.requests[k])
            connect(m, reader.beats[k], getattr(accelerator, beats))
        for prefix, inner in self._buses.items():
            for name, member in inner.signature.members.items():
                outer = getattr(self, f"{prefix}_{name}")
                port = getattr(inner, name)
                m.d.comb += port.eq(outer) if member.flow == In else outer.eq(port)
        return m

"""The board that tests of it and of its link simulate."""

from tritforge.hdl.config import AcceleratorConfig

__all__ = ["BUILD", "CONFIG", "IDENTITY"]

CONFIG = AcceleratorConfig.load("up5k")
BUILD = bytes.fromhex("0123456789abcdef")
IDENTITY = bytes([1, 0]) + BUILD + bytes.fromhex(CONFIG.digest())[:8]
"""What it answers to an OPEN: docs/link.md, space 5."""

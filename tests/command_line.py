"""The command line in a process of its own."""

import sys

__all__ = ["COMMAND"]

# A shell starts what runs in its background with SIGINT ignored, and a process passes that on.
COMMAND = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from tritforge.host.cli import main; main()",
]
"""``tritforge``, as a terminal starts it."""

"""Top levels: the accelerator with a board's memory."""

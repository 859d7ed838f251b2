"""The accelerator: one concept a file."""

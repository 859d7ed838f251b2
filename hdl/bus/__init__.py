"""The accelerator on a bus: a host's registers, and readers that fetch weights."""

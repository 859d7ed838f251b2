"""Link between a host and an accelerator on a small board."""

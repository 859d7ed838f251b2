"""Models: configurations, checkpoints, tokenizers, numerics, weight images, reference and golden models."""

"""Models that many tests use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.synthesis import synthesise
from tritforge.sim.tools import compiler

# Slow and busy machines are no failures.
settings.register_profile("tritforge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tritforge")

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def model_a() -> Path:
    """The checkpoint for which upstream's own results are stored."""
    return VECTORS / "A"


@pytest.fixture(scope="session")
def vectors_a() -> dict[str, NDArray[Any]]:
    """What upstream computes on `model_a` (tests/vectors/README.md)."""
    with np.load(VECTORS / "A" / "vectors.npz") as file:
        return dict(file)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Make a small random checkpoint, of odd sizes unless told otherwise; return its directory."""

    def make(seed: int = 0, dtype: Any = "float32", shard_bytes: int = 10**9, **fields: Any) -> Path:
        odd = {"hidden_size": 21, "num_hidden_layers": 3, "vocab_size": 37, "intermediate_size": 26}
        directory = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        synthesise(ModelConfig(**{**odd, **fields}), directory, seed, dtype, shard_bytes)
        return directory

    return make


@pytest.fixture(scope="session")
def needs_compiler() -> None:
    """Skip where there is no C++ compiler to build a simulation with."""
    try:
        compiler()
    except TritforgeError as error:
        pytest.skip(f"no C++ compiler: {error}")

"""With the plugin a skipped test fails the run; an expected failure does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("test", "strict", "passes"),
    [
        ("def test_it(): pass", True, True),
        ("def test_it(): pytest.skip('no')", True, False),
        ("def test_it(): pytest.skip('no')", False, True),
        ("@pytest.mark.skipif(True, reason='no')\ndef test_it(): pass", True, False),
        ("pytest.importorskip('no_such_module')\ndef test_it(): pass", True, False),
        ("@pytest.mark.xfail\ndef test_it(): raise ValueError", True, True),
    ],
)
def test_a_skip_fails_where_none_may_be(test: str, strict: bool, passes: bool, tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(f"import pytest\n{test}\ndef test_other(): pass\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_PLUGINS"}
    if strict:
        environment |= {"PYTHONPATH": str(HERE), "PYTEST_PLUGINS": "strict_skips"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == passes, done.stdout

"""Several devices: chains take turns, candidates are split, and the answers are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from tests.test_architecture import ROOT


def on_devices(count: int) -> dict[str, Any]:
    flags = f"--xla_force_host_platform_device_count={count}"
    program = [sys.executable, "-m", "tests.runtime.on_devices"]
    made = subprocess.run(
        program, cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def test_two_devices_give_the_answers_of_one() -> None:
    one, two = on_devices(1), on_devices(2)
    assert (one["chains"], one["candidates"]) == (1, 1)
    assert (two["chains"], two["candidates"]) == (2, 2)
    np.testing.assert_allclose(two["alpha"], one["alpha"], rtol=1e-9)
    np.testing.assert_allclose(two["scores"], one["scores"], rtol=1e-9)

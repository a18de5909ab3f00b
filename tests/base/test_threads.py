"""How OpenMP's threads wait, which the package says before torch is loaded."""

import os
import subprocess
import sys

import pytest

SAID = "import os, vaebalance; print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ({}, "2000 PASSIVE"),
        ({"GOMP_SPINCOUNT": "7"}, "7 PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_a_users_own_setting_stands(own, then):
    said = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in said}
    done = subprocess.run(
        [sys.executable, "-c", SAID],
        env=environment | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == then

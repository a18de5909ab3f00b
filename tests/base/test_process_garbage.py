"""When garbage is looked for, in processes of their own."""

import subprocess
import sys
from importlib.util import find_spec

import pytest


def run(text):
    """Return what a script prints."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_none_is_looked_for_while_modules_are_imported():
    found = run(
        "import gc\nfrom vaebalance.base.process import importing\nwith importing():\n"
        "    print(gc.isenabled())\nprint(gc.isenabled())"
    )
    assert found == ["False", "True"]


@pytest.mark.parametrize("was_on", [True, False])
def test_it_is_looked_for_as_before_after_an_import_that_failed(was_on):
    found = run(
        "import gc\nfrom vaebalance.base.process import importing\n"
        f"gc.{'enable' if was_on else 'disable'}()\n"
        "try:\n    with importing():\n        import nothing_of_this_name\n"
        "except ImportError:\n    print(gc.isenabled())"
    )
    assert found == [str(was_on)]


def test_what_a_command_made_is_not_freed_one_by_one_when_it_ends():
    """Nor is what it wrote lost."""
    found = run(
        "from vaebalance.base.process import run_stage\nclass Knot:\n    def __init__(self):\n"
        "        self.me = self\n    def __del__(self):\n        print('freed')\n"
        "def main():\n    Knot()\n    print('made', end='')\nrun_stage(main)"
    )
    assert found == ["made"]


@pytest.mark.skipif(find_spec("triton") is None, reason="torch is without triton here")
def test_a_command_that_imported_triton_ends_in_silence():
    text = "from vaebalance.base.process import run_stage\nrun_stage(lambda: __import__('triton'))"
    done = subprocess.run(
        [sys.executable, "-c", text], stderr=subprocess.PIPE, text=True, check=True
    )
    assert not done.stderr

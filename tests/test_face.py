"""The public names: complete, documented, light, and enough for a loop of one's own."""

import ast
import importlib
import os
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import vaebalance as vb

ROOT = Path(__file__).resolve().parents[1]
FACE = ROOT / "src" / "vaebalance" / "__init__.py"


def python(code: str) -> str:
    """Return what the code prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_it_imports_nothing_else():
    code = (
        "import sys, vaebalance\n"
        "print(*sorted(name for name in sys.modules if name.startswith('vaebalance.')))\n"
        "print('torch' in sys.modules)"
    )
    assert python(code).split("\n")[:2] == ["", "False"]


def test_the_names_for_type_checkers_are_the_names():
    (block,) = (node for node in ast.parse(FACE.read_text("utf-8")).body if is_for_checkers(node))
    homes = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == vb.__all__ == dir(vb)
    for name, home in homes.items():
        module, _, attribute = home.rpartition(".")
        value = getattr(importlib.import_module(module), attribute, None)
        assert getattr(vb, name) is (value or importlib.import_module(home))


def is_for_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("name", vb.__all__)
def test_every_name_is_documented(name):
    value = getattr(vb, name)
    assert value.__doc__
    assert re.search(rf"\b{name}\b", vb.__doc__.partition("The tree is")[0])
    assert isinstance(value, types.ModuleType) or value.__module__.startswith("vaebalance.")


def test_another_name_is_none():
    with pytest.raises(AttributeError, match="module 'vaebalance' has no attribute 'Fxed'"):
        vb.Fxed  # noqa: B018


def test_a_loop_of_ones_own_holds_its_rate():
    """Within 2% of 8 nats, in each of the last ten epochs."""
    rates = runpy.run_path(str(ROOT / "examples" / "own_loop.py"))["train"]()
    assert rates[-10:] == pytest.approx([8.0] * 10, rel=0.02)


def test_a_balance_needs_to_know_little_of_a_run():
    facts = vb.RunFacts(dimensions=4, latent_size=2, steps=10)
    terms = vb.ElboTerms(torch.ones(3), torch.ones(3, 2))
    for balance in (vb.Fixed(beta=2.0), vb.WarmUp(), vb.Geco(distortion=1.0)):
        state = balance.next_state(balance.initial_state(facts), terms)
        assert vb.weighted_loss(terms, balance.weights(state, terms)).shape == ()


def test_a_notebook_trains_and_diagnoses(digits):
    """From params.yaml to verdicts, with paths as text."""
    settings = vb.load_settings(str(ROOT / "params.yaml"))
    settings = settings.replace(train=settings.train.replace(epochs=2, compile="off"))
    training = vb.Training(settings, vb.open_dataset(str(digits.folder)))
    assert [type(report).__name__ for report in training][-1] == "EpochReport"
    assert len(training.history) == 2
    kept = training.history.index(training.best)
    assert training.verdicts == vb.diagnose(training.context, training.history, kept)
    last = vb.diagnose(training.context, training.history, 1)
    assert vb.diagnose(training.context, training.history) == last

"""Checkpoints are read whole or refused. (test_training_run.py tests that resuming is exact.)"""

from types import SimpleNamespace

import pytest
import torch

from vaebalance.balancing import RunFacts, WarmUp
from vaebalance.base.errors import UserError
from vaebalance.run.checkpoints import (
    Checkpoint,
    CheckpointTimer,
    copied,
    learner_state,
    load_checkpoint,
    restore_learner,
    save_checkpoint,
)
from vaebalance.training.loader import Images
from vaebalance.training.step import Learner, Step
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

CPU = torch.device("cpu")


def make_learner(seed=0):
    torch.manual_seed(seed)
    spec = ModelSpec(architecture=Mlp(hidden=(8,)), latent_size=2, posterior="gaussian")
    model = VAE(spec, Bernoulli(), (1, 8, 8))
    balance = WarmUp(steps=5)
    run = RunFacts(dimensions=64, latent_size=2, steps=10, steps_per_epoch=5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return Learner(model, optimizer, balance, balance.initial_state(run))


def step(learner):
    torch.manual_seed(9)
    images = Images(torch.randint(0, 256, (4, 1, 8, 8)).byte(), "none")
    learner.step = Step(learner, images, None)
    learner.take_step(images.stored)


def save(path, learner, fingerprint="f"):
    save_checkpoint(path, Checkpoint(fingerprint, learner_state(learner), []))


def test_weights_optimizer_and_balance_come_back(tmp_path):
    """A step after saving and restoring equals a step without."""
    learner, other = make_learner(), make_learner(seed=1)
    step(learner)
    save(tmp_path / "c.pt", learner)
    found = load_checkpoint(tmp_path / "c.pt", "f", CPU)
    assert found is not None
    restore_learner(other, found.state)
    step(learner)
    step(other)
    for a, b in zip(learner.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert float(other.balance_state["step"]) == 2


def test_the_same_state_is_the_same_bytes(tmp_path):
    learner = make_learner()
    step(learner)
    save(tmp_path / "a" / "c.pt", learner)
    save(tmp_path / "b" / "c.pt", learner)
    assert (tmp_path / "a/c.pt").read_bytes() == (tmp_path / "b/c.pt").read_bytes()


def test_equal_states_are_the_same_bytes_however_they_came_about(tmp_path):
    """Shared objects and storages, gradients and files make no difference."""
    word = "".join(["steps", " so far"])  # a new object each time
    pool = torch.arange(12.0)
    shared = {
        "a": {word: pool[:6].view(2, 3), "b": pool[6:9]},
        "c": [word, (word, 1.5)],
        "modules": torch.nn.BatchNorm1d(2).state_dict(),
    }
    apart = {
        "a": {"".join(["steps", " so far"]): torch.arange(6.0).view(2, 3).requires_grad_()},
        "c": ["".join(["steps", " so far"]), ("".join(["steps", " so far"]), 1.5)],
        "modules": torch.nn.BatchNorm1d(2).state_dict(),
    }
    apart["a"]["b"] = torch.nn.Parameter(torch.arange(6.0, 9.0))
    for folder, state in (("shared", shared), ("apart", apart)):
        save_checkpoint(tmp_path / folder / "s.pt", Checkpoint("f", state, []))
    checkpoint = load_checkpoint(tmp_path / "apart/s.pt", "f", CPU)
    save_checkpoint(tmp_path / "read/s.pt", checkpoint)
    read = checkpoint.state
    written = {(tmp_path / name / "s.pt").read_bytes() for name in ("shared", "apart", "read")}
    assert len(written) == 1
    assert read["modules"]._metadata[""]["version"] == 2
    assert read["a"]["b"].untyped_storage().nbytes() == 12


def test_a_state_keeps_how_its_tensors_are_laid_out(tmp_path):
    picture = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "s.pt", Checkpoint("f", {"picture": picture}, []))
    read = load_checkpoint(tmp_path / "s.pt", "f", CPU).state["picture"]
    assert torch.equal(read, picture)
    assert read.stride() == picture.stride()


def test_none_is_found_where_there_is_none_or_another_trainings(tmp_path):
    assert load_checkpoint(tmp_path / "c.pt", "f", CPU) is None
    save(tmp_path / "c.pt", make_learner(), fingerprint="other")
    assert load_checkpoint(tmp_path / "c.pt", "f", CPU) is None


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path, share):
    path = tmp_path / "c.pt"
    save(path, make_learner())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"c\.pt: not a readable checkpoint"):
        load_checkpoint(path, "f", CPU)


@pytest.mark.parametrize(
    "content", [{"fingerprint": "f", "learner": {}}, {"format": 2, "fingerprint": "f"}, [1], 3]
)
def test_a_file_of_another_format_is_refused(tmp_path, content):
    """A file of format 1 has no format number."""
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(
        UserError, match=r"c\.pt: not a readable checkpoint \(its format is .*delete"
    ):
        load_checkpoint(tmp_path / "c.pt", "f", CPU)


def test_no_code_is_run_on_loading(tmp_path):
    """A pickle that runs a command is refused."""
    import os

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/trapped",)

    torch.save({"fingerprint": Trap()}, tmp_path / "c.pt")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "c.pt", "f", CPU)
    assert not (tmp_path / "trapped").exists()


def test_a_copy_does_not_follow_training():
    model = make_learner().model
    snapshot = copied(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(not torch.equal(snapshot[n], p) for n, p in model.named_parameters())


def test_a_second_lies_between_two_but_for_the_last(monkeypatch):
    clock = iter([10.0, 10.9, 11.0, 11.1, 11.2, 30.0])
    monkeypatch.setattr(
        "vaebalance.run.checkpoints.time", SimpleNamespace(monotonic=clock.__next__)
    )
    pace = CheckpointTimer(every=1)
    found = [pace.is_due(epoch, is_over=epoch == 5) for epoch in range(1, 6)]
    assert found == [True, False, True, False, True]
    assert not CheckpointTimer(every=2).is_due(3, is_over=False)

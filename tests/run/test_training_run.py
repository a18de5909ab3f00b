"""One training: reproducible, resumable after SIGKILL, its best epoch kept."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.members import examples
from vaebalance.balancing import (
    Balance,
    Capacity,
    ControlVae,
    Geco,
    OptimalSigma,
    RunFacts,
    WarmUp,
)
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import PACKAGE, Provenance, read_provenance
from vaebalance.base.reports import EpochReport
from vaebalance.data import open_dataset, prepare
from vaebalance.run.checkpoints import load_checkpoint
from vaebalance.run.training_run import (
    Training,
    describe,
    provenance_of,
    run_facts,
    save,
    start_learner,
    summary,
)
from vaebalance.settings import PARAMS, Settings, TrainSettings, load
from vaebalance.training.loop import NonFiniteError
from vaebalance.vae.saved_model import load_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "prepared"
    data = load(Settings, ROOT / PARAMS).data.replace(max_images=300)
    prepare(data, 0, path)
    return path


@pytest.fixture(scope="module")
def dataset(folder):
    return open_dataset(folder)


@pytest.fixture
def settings():
    whole = load(TrainSettings, ROOT / PARAMS)
    return whole.replace(train=whole.train.replace(epochs=4, device="cpu").model_dump())


def with_train(settings, **changes):
    return settings.replace(train=settings.train.replace(**changes).model_dump())


def finish(training):
    return [report for report in training if isinstance(report, EpochReport)]


def last(training, artifacts):
    """Return the bytes of the final checkpoint."""
    provenance = Provenance("f", {}, {}, "")
    save(training, provenance, artifacts, artifacts / "metrics.json")
    return (artifacts / "last.pt").read_bytes()


def numbers(training):
    return [report.metrics() for report in training.history]


def test_initial_weights_depend_on_the_seed_alone(settings, dataset):
    def weights(seed, noise):
        torch.manual_seed(noise)
        return start_learner(settings.replace(seed=seed), dataset).model.state_dict()

    first, again, other = weights(0, 1), weights(0, 2), weights(1, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("quick_checkpoints")
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_training_ends_as_one_never_stopped(settings, dataset, tmp_path, stop_after):
    whole = Training(settings, dataset, "f")
    finish(whole)
    stopped = Training(settings, dataset, "f", tmp_path / "c.pt")
    for report in stopped:
        if isinstance(report, EpochReport) and report.epoch == stop_after:
            break
    resumed = Training(settings, dataset, "f", tmp_path / "c.pt")
    assert len(resumed.history) == stop_after
    assert [r.epoch for r in finish(resumed)] == [1, 2, 3, 4]
    assert numbers(resumed) == numbers(whole)
    assert last(resumed, tmp_path / "resumed") == last(whole, tmp_path / "whole")
    for name, value in whole.best_weights.items():
        assert torch.equal(value, resumed.best_weights[name])


@pytest.mark.parametrize("said", [None, "3"])
def test_a_small_net_is_trained_on_one_thread_and_its_reader_has_all(
    settings, dataset, three_threads, monkeypatch, said
):
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    expected = 1 if said is None else 3
    training, found = Training(settings, dataset), set()
    step = training.learner.step

    def watched(*inputs):
        found.add(torch.get_num_threads())
        return step(*inputs)

    training.learner.step = watched
    readers = {torch.get_num_threads() for _ in training}
    assert (found, readers, training.threads) == ({expected}, {3}, expected)
    assert ("on one thread" in describe(training)) == (said is None)


def test_a_checkpoint_of_another_training_is_not_resumed(settings, dataset, tmp_path):
    finish(Training(settings, dataset, "one", tmp_path / "c.pt"))
    assert Training(settings, dataset, "two", tmp_path / "c.pt").history == []
    assert len(Training(settings, dataset, "one", tmp_path / "c.pt").history) == 4


def test_a_damaged_checkpoint_is_named(settings, dataset, tmp_path):
    path = tmp_path / "c.pt"
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"c\.pt: not a readable checkpoint.*delete it"):
        Training(settings, dataset, "f", path)


def test_checkpoints_are_written_as_often_as_asked(settings, dataset, tmp_path):
    path = tmp_path / "c.pt"
    device = torch.device("cpu")
    seen = []
    training = Training(with_train(settings, checkpoint_every=3), dataset, "f", path)
    for report in training:
        if isinstance(report, EpochReport):
            found = load_checkpoint(path, "f", device)
            seen.append(len(found.history) if found else 0)
    assert seen == [0, 0, 3, 4]


def test_the_best_epoch_is_kept_not_the_last(settings, dataset):
    """A learning rate that overshoots makes some epoch worse than one before."""
    training = Training(with_train(settings, learning_rate=0.05, epochs=8), dataset)
    snapshots = {}
    for report in training:
        if isinstance(report, EpochReport):
            state = training.learner.model.state_dict()
            snapshots[report.epoch] = {name: value.clone() for name, value in state.items()}
    values = [r.validation.negative_elbo for r in training.history]
    best = values.index(min(values)) + 1
    assert training.best.epoch == best
    assert best < 8
    for name, value in training.best_weights.items():
        assert torch.equal(value, snapshots[best][name])


def test_early_stopping_waits_for_patience_and_survives_a_resume(settings, dataset, tmp_path):
    hopeless = with_train(settings, learning_rate=0.2, epochs=60, patience=3)
    training = Training(hopeless, dataset, "f", tmp_path / "c.pt")
    finish(training)
    assert training.stopped_early
    assert training.history[-1].epoch == training.best.epoch + 3
    again = Training(hopeless, dataset, "f", tmp_path / "c.pt")
    assert again.stopped_early
    assert len(finish(again)) == len(training.history)


def with_balance(settings, **values):
    return settings.replace(balance=values)


def test_early_stopping_waits_for_the_schedule(settings, dataset, tmp_path):
    """β goes from 1 to 0, where the negative ELBO is worse than on the way."""
    patient = with_train(settings, learning_rate=0.005, epochs=60, patience=2)
    batches = len(dataset.images("train")) // settings.train.batch_size + 1
    slow = with_balance(patient, kind="warm_up", start=1.0, beta=0.0, steps=8 * batches)
    training = Training(slow, dataset, "f", tmp_path / "c.pt")
    finish(training)
    assert [report.settled for report in training.history][:10] == [False] * 7 + [True] * 3
    assert training.stopped_early
    last = training.history[-1].epoch
    assert last == training.best.epoch + 2 >= 10
    bounds = [report.validation.negative_elbo for report in training.history]
    assert bounds.index(min(bounds)) + 1 < 8
    losses = [report.validation.weighted_loss for report in training.history]
    assert training.best.validation.weighted_loss == min(losses[7:])
    again = Training(slow, dataset, "f", tmp_path / "c.pt")
    assert again.stopped_early
    assert again.best == training.best


def test_a_schedule_that_never_ends_keeps_the_last_epoch(settings, dataset):
    training = Training(with_balance(settings, kind="warm_up", steps=10_000), dataset)
    finish(training)
    assert not any(report.settled for report in training.history)
    assert not training.stopped_early
    assert training.best is training.history[-1]
    weights = training.learner.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in training.best_weights.items())


def test_a_cyclical_training_keeps_a_model_of_its_last_cycles_end(settings, dataset):
    training = Training(with_balance(settings, kind="cyclical", beta=4.0, cycles=2), dataset)
    finish(training)
    assert training.best.epoch == 4
    assert training.best.validation.beta == pytest.approx(4.0)


BALANCES = examples(
    Balance,
    WarmUp(shape="cosine"),
    Capacity(capacity=5.0),
    Geco(psnr=12.0),
    ControlVae(rate=5.0),
)


@pytest.mark.usefixtures("quick_checkpoints")
@pytest.mark.parametrize("balance", BALANCES, ids=lambda balance: balance.kind)
def test_a_training_resumes_exactly_with_every_balance(settings, dataset, tmp_path, balance):
    settings = with_balance(settings, **balance.model_dump())
    if isinstance(balance, OptimalSigma):
        settings = settings.replace(likelihood={"kind": "gaussian"})
    whole = Training(settings, dataset, "f")
    finish(whole)
    stopped = Training(settings, dataset, "f", tmp_path / "c.pt")
    next(report for report in stopped if isinstance(report, EpochReport) and report.epoch == 2)
    resumed = Training(settings, dataset, "f", tmp_path / "c.pt")
    assert len(resumed.history) == 2
    finish(resumed)
    assert numbers(resumed) == numbers(whole)
    assert last(resumed, tmp_path / "resumed") == last(whole, tmp_path / "whole")
    state, other = whole.learner.balance_state, resumed.learner.balance_state
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.usefixtures("quick_checkpoints")
def test_a_compiled_training_is_the_same_resumes_exactly_and_says_so(settings, dataset, tmp_path):
    """To the float's tolerance; and bit for bit after a stop."""
    small = settings.model.replace(architecture={"kind": "mlp", "hidden": (8,)})
    settings = settings.replace(model=small.model_dump())
    compiled = with_train(settings, compile="on")
    plain = Training(with_train(settings, compile="off"), dataset)
    whole = Training(compiled, dataset, "f")
    for training in (plain, whole):
        finish(training)
    stopped = Training(compiled, dataset, "f", tmp_path / "c")
    next(report for report in stopped if isinstance(report, EpochReport) and report.epoch == 2)
    resumed = Training(compiled, dataset, "f", tmp_path / "c")
    finish(resumed)
    assert numbers(resumed) == numbers(whole)
    ours, others = (t.history[-1].validation.metrics() for t in (whole, plain))
    assert ours == pytest.approx(others, rel=1e-3, abs=1e-3)
    assert whole.learner.step.failure is None
    assert (summary(whole)["compiled"], summary(plain)["compiled"]) == (True, False)
    assert "in fp32, compiled" in describe(whole)
    assert "compiled" not in describe(plain)


def test_the_balance_knows_the_run(settings, dataset):
    images = len(dataset.images("train"))
    facts = run_facts(with_train(settings, batch_size=100, epochs=7), dataset)
    assert facts == RunFacts(64, 8, 7 * -(-images // 100), -(-images // 100), None)
    gaussian = settings.replace(likelihood={"kind": "gaussian", "sigma": 0.3})
    assert run_facts(gaussian, dataset).sigma == 0.3


def test_a_balance_that_does_not_fit_is_refused_before_training(settings, dataset):
    with pytest.raises(UserError, match="optimal_sigma"):
        Training(with_balance(settings, kind="optimal_sigma"), dataset)


@pytest.mark.usefixtures("quick_checkpoints")
def test_a_non_finite_stop_keeps_the_last_good_checkpoint(settings, dataset, tmp_path):
    path = tmp_path / "c.pt"
    training = Training(settings, dataset, "f", path)
    stream = (report for report in training if isinstance(report, EpochReport))
    assert [next(stream).epoch, next(stream).epoch] == [1, 2]
    training.learner.optimizer.param_groups[0]["lr"] = 1e30
    with pytest.raises(NonFiniteError, match="epoch 3"):
        next(stream)
    kept = load_checkpoint(path, "f", torch.device("cpu"))
    assert kept is not None
    assert len(kept.history) == 2
    assert all(value.isfinite().all() for value in kept.state["learner"]["model"].values())


def test_what_a_training_leaves(settings, dataset, tmp_path):
    training = Training(settings, dataset, "f")
    finish(training)
    provenance = provenance_of(settings, dataset)
    save(training, provenance, tmp_path / "artifacts", tmp_path / "metrics" / "train.json")
    model = load_model(tmp_path / "artifacts" / "model")
    x = dataset.images("test")[:5].float() / 255
    training.learner.model.load_state_dict(training.best_weights)
    assert torch.equal(model.encode(x).mean, training.learner.model.encode(x).mean)
    assert read_provenance(tmp_path / "artifacts" / "model") == provenance
    with (tmp_path / "artifacts" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train/rate"]) for row in rows] == [r.train.rate for r in training.history]
    metrics = json.loads((tmp_path / "metrics" / "train.json").read_text())
    assert metrics["validation"]["negative_elbo"] == training.best.validation.negative_elbo
    assert metrics["best_epoch"] == training.best.epoch


def test_the_same_seed_twice_writes_the_same_bytes(settings, dataset, tmp_path):
    """All but the clock's file."""
    for name in ("a", "b"):
        training = Training(settings, dataset, "f")
        finish(training)
        save(
            training,
            provenance_of(settings, dataset),
            tmp_path / name,
            tmp_path / f"{name}/m",
        )
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) == 9
    for file in files:
        if file.name != "timing.csv":
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), (
                file
            )


def test_a_fingerprint_follows_settings_data_and_code(settings, dataset, tmp_path, monkeypatch):
    base = provenance_of(settings, dataset)
    assert provenance_of(settings, dataset) == base
    other = provenance_of(settings.replace(seed=1), dataset)
    assert other.fingerprint != base.fingerprint
    assert other.code_digest == base.code_digest
    package = tmp_path / "vaebalance"
    shutil.copytree(PACKAGE, package)
    monkeypatch.setattr("vaebalance.base.provenance.PACKAGE", package)
    assert provenance_of(settings, dataset) == base
    elbo = package / "vae" / "elbo.py"
    elbo.write_text(elbo.read_text() + "\n")
    assert provenance_of(settings, dataset).fingerprint != base.fingerprint


def test_describe_says_how_it_ended(settings, dataset):
    training = Training(settings, dataset)
    finish(training)
    text = describe(training)
    assert "ran its course after 4 epochs" in text
    assert "note: BCE on grey pixels" in text


def test_a_likelihood_that_does_not_fit_the_prepared_pixels_is_refused(settings, tmp_path):
    data = load(Settings, ROOT / PARAMS).data.replace(max_images=60, binarisation="static")
    prepare(data, 0, tmp_path / "prepared")
    misfit = settings.replace(likelihood={"kind": "continuous_bernoulli"})
    with pytest.raises(UserError, match="bernoulli"):
        Training(misfit, open_dataset(tmp_path / "prepared"))


def test_an_empty_validation_split_is_refused(settings, tmp_path):
    data = load(Settings, ROOT / PARAMS).data.replace(max_images=50, validation_fraction=0.0)
    prepare(data, 0, tmp_path / "prepared")
    with pytest.raises(UserError, match="the validation split is empty"):
        Training(settings, open_dataset(tmp_path / "prepared"))


KILLED = """
import sys, os, signal
import shutil
from pathlib import Path
from vaebalance.run import checkpoints
from vaebalance.data import open_dataset
from vaebalance.run.training_run import Training
from vaebalance.vae.saved_model import load_model
from vaebalance.settings import TrainSettings, load
checkpoints.SECONDS_BETWEEN = 0.0
settings = load(TrainSettings, Path(sys.argv[1]))
settings = settings.replace(train=settings.train.replace(epochs=4, device="cpu").model_dump())
training = Training(settings, open_dataset(Path(sys.argv[2])), "f", Path(sys.argv[3]))
for report in training:
    print("report", flush=True)
    if len(training.history) == 2:
        print("ready", flush=True)
        while True:  # in the middle of whatever comes next
            next(iter([]), None)
"""


def test_sigkill_then_again_ends_the_same(settings, folder, dataset, tmp_path):
    path = tmp_path / "c.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(ROOT / PARAMS), str(folder), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole = Training(settings, dataset, "f")
    finish(whole)
    resumed = Training(settings, dataset, "f", path)
    assert len(resumed.history) == 2
    finish(resumed)
    assert numbers(resumed) == numbers(whole)
    assert last(resumed, tmp_path / "resumed") == last(whole, tmp_path / "whole")

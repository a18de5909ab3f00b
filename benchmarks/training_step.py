"""Our training against the loop that everyone writes, pythae's trainer, and the machine's limit.

    python benchmarks/training_step.py [--rounds 7] [--cases …] [--device cpu]
                                       [--out benchmarks/results]

Each is a process of its own, which stays, and they take turns: an epoch each, round by round.
Images/s, and ratios to the naive loop of the same round: medians and spread. Ours are processes as
those of our commands are (how threads wait, which memory is kept); the others are as torch has it.
The limit is that of the products and convolutions alone, forward and backward, in the precision
that `auto` uses, on the same shapes; on a CUDA device without the time of calling them. What `auto`
compiles is measured as in a long training, after its compilation, whose seconds are printed;
`recorded` is what `auto` does on a CUDA device in a short one. Epochs have 1,280 images and more,
since ours ends one with a report. pythae is measured if it can be imported:

    pip install --no-deps --target build/pythae pythae
    PYTHONPATH=build/pythae python benchmarks/training_step.py
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import trainings
from naive import NaiveVAE, naive_epoch
from results import Table, on_device, parse_options, processor, write_result
from torch import Tensor, nn

from vaebalance.balancing import Fixed
from vaebalance.base.adam import Adam
from vaebalance.base.devices import start_threads
from vaebalance.base.process import keep_freed
from vaebalance.training.cuda_graphs import Recorded
from vaebalance.training.loader import Images
from vaebalance.training.loop import TrainSpec, make_step, train
from vaebalance.training.precision import (
    Compile,
    Precision,
    bf16_terms,
    choose_threads,
    make_terms,
    name_of,
    work_of,
)
from vaebalance.training.step import Learner
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Architecture, Conv, ImageShape, Mlp

LONG = 10**6
"""Steps of a training that is long enough for anything."""


class Case(NamedTuple):
    """What is trained."""

    architecture: Architecture
    latent_size: int
    shape: ImageShape
    batch_size: int
    batches: int  # of an epoch, at whose end ours measures gradients and writes a report


CASES = {
    "mlp 64-256-128-8, batch 64": Case(Mlp(hidden=(256, 128)), 8, (1, 8, 8), 64, 100),
    "mlp 784-400-20, batch 128": Case(Mlp(hidden=(400,)), 20, (1, 28, 28), 128, 400),
    "mlp 784-512-256-16, batch 512": Case(Mlp(hidden=(512, 256)), 16, (1, 28, 28), 512, 100),
    "conv 28×28, batch 128": Case(Conv(channels=(32, 64), hidden=(256,)), 16, (1, 28, 28), 128, 40),
    "conv 64×64×3, batch 64": Case(Conv(channels=(32, 64), hidden=(256,)), 16, (3, 64, 64), 64, 20),
}
Epoch = Callable[[], Any]
TABLES = {
    "training_step": Table(
        {
            "step": "{case}",
            "naive, images/s": "{naive img/s:,.0f}",
            "pythae": "{pythae:.2f}",
            "fp32": "{fp32:.2f}",
            "fp32 compiled": "{fp32 compiled:.2f}",
            "`auto`": "{auto:.2f} ({auto is})",
            "`auto` / pythae": "{auto / pythae:.1f}",
            "of the limit": "{of the limit:.2f}",
        }
    ),
    "training_step-cuda": Table(
        {
            "step": "{case}",
            "naive, images/s": "{naive img/s:,.0f}",
            "fp32, one by one": "{fp32:.2f}",
            "recorded": "{recorded:.1f}",
            "`auto`": "{auto:.1f} ({auto is})",
            "images/s": "{auto img/s:,.0f}",
            "of the limit": "{of the limit:.2f}",
        }
    ),
}

WAYS: dict[str, tuple[Precision, Compile, int]] = {
    "fp32": ("fp32", "off", LONG),
    "fp32 compiled": ("fp32", "on", LONG),
    "auto not compiled": ("auto", "off", LONG),
    "auto": ("auto", "auto", LONG),
}
"""Ours: precision, whether compiled, steps planned."""

CUDA_WAYS: dict[str, tuple[Precision, Compile, int]] = {
    "fp32 recorded": ("fp32", "auto", 1),
    "recorded": ("auto", "auto", 1),
}

EVERYONES = {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None, "THP_MEM_ALLOC_ENABLE": "0"}
"""What this package sets in its own processes, as torch has it."""


def make_model(case: Case, device: torch.device) -> VAE:
    """Build a model with the same weights for all."""
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=case.architecture, latent_size=case.latent_size, posterior="gaussian"
    )
    return VAE(spec, Bernoulli(), case.shape).to(device)


def pythae_epoch(model: VAE, images: Tensor, batch_size: int) -> Epoch:
    """One pass of pythae's own trainer over the same networks."""
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = model.encoder

        def forward(self, x: Tensor) -> Any:
            mu, logvar = self.net(x).chunk(2, -1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = model.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    config = models.VAEConfig(
        input_dim=model.image_shape, latent_dim=model.latent_size, reconstruction_loss="bce"
    )
    pixels = images.float() / 255
    trainer = BaseTrainer(
        model=models.VAE(config, Encoder(), Decoder()),
        train_dataset=BaseDataset(pixels, torch.zeros(len(pixels))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(prefix="vaebalance-"),
            per_device_train_batch_size=batch_size,
            learning_rate=1e-3,
            no_cuda=not model.prior_mean.is_cuda,
        ),
    )
    trainer.prepare_training()
    return lambda: trainer.train_step(1)


def our_epoch(
    model: VAE,
    images: Tensor,
    batch_size: int,
    precision: Precision,
    compile: Compile,
    steps: int,
) -> tuple[Epoch, Learner]:
    """One epoch of `vaebalance.training.loop.train`, its reports included."""
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    learner = Learner(model, optimizer, Fixed(), {})
    learner.terms = make_terms(precision, model, batch_size)
    learner.threads = choose_threads(work_of(model, batch_size), learner.device)
    spec = TrainSpec(
        epochs=1,
        batch_size=batch_size,
        learning_rate=1e-3,
        gradient_clip=None,
        patience=None,
        checkpoint_every=1,
        device="auto",
        precision=precision,
        compile=compile,
    )
    stored = Images(images, "none").to(learner.device)
    learner.step = make_step(learner, stored, spec, steps)
    one = Images(images[:1], "none")  # measured after an epoch: the loops beside it measure nothing

    def epoch() -> None:
        for _ in train(learner, stored, one, spec, seed=0):
            pass

    return epoch, learner


def limit_epoch(model: VAE, case: Case, dtype: torch.dtype) -> Epoch:
    """Build the products and convolutions of a pass, forward and backward, and nothing else."""
    calls: list[Callable[[], Any]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, y = inputs[0].detach().to(dtype), output.detach().to(dtype)
        weight = layer.weight.detach().to(dtype)
        of_input = bool(calls)  # the first layer's input needs no gradient
        if isinstance(layer, nn.Linear):
            calls.append(lambda: torch.mm(x, weight.T))
            calls.append(lambda: torch.mm(y.T, x))
            if of_input:
                calls.append(lambda: torch.mm(y, weight))
            return
        transposed = isinstance(layer, nn.ConvTranspose2d)
        extra = layer.output_padding if transposed else (0, 0)
        how = (layer.stride, layer.padding, layer.dilation, transposed, extra, 1)
        calls.append(lambda: torch.convolution(x, weight, None, *how))
        wanted = [of_input, True, False]
        calls.append(lambda: torch.ops.aten.convolution_backward(y, x, weight, None, *how, wanted))

    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    hooks = [
        layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        images = torch.rand(case.batch_size, *case.shape, device=model.prior_mean.device)
        model.decode(model.encode(images).mean)
    for hook in hooks:
        hook.remove()

    def step() -> None:
        for call in calls:
            call()

    once = Recorded(step) if images.is_cuda else step

    def epoch() -> None:
        for _ in range(case.batches):
            once()

    return torch.no_grad()(epoch)


def seconds(action: Epoch) -> float:
    """Wall time of one call, and of what it leaves a device to do."""
    started = time.perf_counter()
    action()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def scaled(case: Case, device: torch.device) -> Case:
    """On a CUDA device of longer epochs, lest what follows one be most of it."""
    longer = max(250, case.batches)
    return case._replace(batches=longer) if device.type == "cuda" else case


def contend(name: str, case: Case, device: torch.device) -> None:
    """Be one of those that take turns, for as long as there are lines to read.

    Prints what there is to say of itself, then the seconds of an epoch for each line.
    """
    images = torch.randint(0, 256, (case.batch_size * case.batches, *case.shape), dtype=torch.uint8)
    model = make_model(case, device)
    learner = None
    if name == "naive":
        epoch = naive_epoch(NaiveVAE(model.encoder, model.decoder), images, case.batch_size)
    elif name == "pythae":
        epoch = pythae_epoch(model, images, case.batch_size)
    elif name == "limit":
        terms = make_terms("auto", model, case.batch_size)
        epoch = limit_epoch(model, case, torch.bfloat16 if terms is bf16_terms else torch.float32)
    else:
        keep_freed()
        start_threads()
        epoch, learner = our_epoch(model, images, case.batch_size, *(WAYS | CUDA_WAYS)[name])
    epoch()
    status = learner.step.status if learner and learner.step else ""
    precision = name_of(learner.terms) if learner else ""
    print(json.dumps({"said": status, "precision": precision}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(seconds(epoch)), flush=True)


class Contender:
    """Such a process."""

    def __init__(self, name: str, case: str, device: torch.device) -> None:
        """Begin it."""
        command = [sys.executable, __file__, "--contender", name]
        environment: dict[str, str | None] = dict(os.environ)
        if name not in WAYS | CUDA_WAYS:
            environment |= EVERYONES
        self._process = subprocess.Popen(
            [*command, "--cases", case, "--device", str(device)],
            env={key: value for key, value in environment.items() if value is not None}
            | {"TQDM_DISABLE": "1"},  # pythae's bars
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> Any:
        """Return the next line of its output."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} has ended, see above")
        return json.loads(line)

    def epoch(self) -> float:
        """Its seconds of one."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self.hear())

    def end(self) -> None:
        """Let it go."""
        self._process.communicate()


def measure(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """Images/s of each contender in a case, and what it says of itself."""
    case = scaled(CASES[name], device)
    ways = WAYS | (CUDA_WAYS if device.type == "cuda" else {})
    pythae = ["pythae"] if importlib.util.find_spec("pythae") else []
    contenders = {
        each: Contender(each, name, device) for each in ["naive", *pythae, *ways, "limit"]
    }
    told = {each: contender.hear() for each, contender in contenders.items()}
    times = [
        {each: contender.epoch() for each, contender in contenders.items()} for _ in range(rounds)
    ]
    for contender in contenders.values():
        contender.end()
    count = case.batch_size * case.batches
    return {
        "auto": told["auto"]["precision"],
        "said": {each: words["said"] for each, words in told.items() if words["said"]},
        "images_per_second": {
            each: count / statistics.median(t[each] for t in times) for each in contenders
        },
        "to_naive": {each: spread([t["naive"] / t[each] for t in times]) for each in contenders},
        "to_pythae": spread([t["pythae"] / t["auto"] for t in times]) if pythae else None,
        "of_limit": spread([t["limit"] / t["auto"] for t in times]),
    }


def spread(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, largest."""
    return statistics.median(ratios), min(ratios), max(ratios)


def result_of(row: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the ratios to the naive loop as numbers, and their range."""
    ratios: dict[str, Any] = {"pythae": None}
    for contender, (median, low, high) in measured["to_naive"].items():
        ratios |= {contender: median, f"{contender}, range": [low, high]}
    del ratios["naive"], ratios["naive, range"]
    return row | ratios | {"said": measured["said"]}


def main() -> None:
    """Print a table, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--contender", help="be this one: started by the others' process")
    options = parse_options(parser)
    logging.disable(logging.WARNING)
    if options.contender:
        (name,) = options.cases
        contend(options.contender, scaled(CASES[name], options.device), options.device)
        return
    threads = torch.get_num_threads()
    machine = {"processor": processor(), "threads": threads, "torch": torch.__version__}
    if options.device.type == "cuda":
        machine["device"] = torch.cuda.get_device_name(options.device)
    print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    rows, results = [], []
    for name in options.cases:
        one = measure(name, options.rounds, options.device)
        trainings.say(f"{name}: {one['said']}")
        row: dict[str, Any] = {"case": name}
        row["naive img/s"] = one["images_per_second"]["naive"]
        for contender, (median, low, high) in one["to_naive"].items():
            if contender != "naive":
                row[contender] = f"{median:.2f} ({low:.2f}–{high:.2f})"
        row["auto img/s"] = one["images_per_second"]["auto"]
        row["auto is"] = one["auto"] + (", compiled" if "auto" in one["said"] else "")
        row["auto / pythae"] = one["to_pythae"] and one["to_pythae"][0]
        row["of the limit"] = one["of_limit"][0]
        rows.append(row)
        results.append(result_of(row, one))
        trainings.say(trainings.table([row]))
    print(trainings.table(rows))
    name = on_device("training_step", options.device)
    write_result(name, results, options.out, rounds=options.rounds)


if __name__ == "__main__":
    main()

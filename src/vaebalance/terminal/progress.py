"""The live line of a training: D, R, α·D, β·R, images/s, time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NoReturn

from tqdm import tqdm

from vaebalance.base.reports import EpochReport, Pulse
from vaebalance.run.training_run import Training


def progress(training: Training) -> Iterator[EpochReport]:
    """Show the training's pulses on stderr and pass on its epoch reports."""
    layout = "{desc} |{bar:12}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]"
    seconds = 0.2 if sys.stderr.isatty() else 10.0  # in a log each showing is a line
    done = len(training.history)
    said: set[str] = set()
    with tqdm(
        total=training.planned_epochs,
        initial=done,
        desc="train",
        bar_format=layout,
        mininterval=seconds,
        file=sys.stderr,
    ) as bar:
        _say(bar, _of_update(training), said)
        for report in training:
            _say(bar, _of_update(training), said)
            at = float(report.epoch)
            if isinstance(report, Pulse):
                at += report.batch / report.batches - 1
            bar.set_postfix_str(_postfix(report), refresh=False)
            bar.update(max(0, at - bar.n))
            if isinstance(report, EpochReport):
                for verdict in training.verdicts_so_far:
                    if verdict.name not in said:
                        bar.write(f"epoch {report.epoch}, so far {verdict}", file=sys.stderr)
                        said.add(verdict.name)
                yield report


def _of_update(training: Training) -> str:
    """What there is to say of how the steps are taken; nothing once all are."""
    update, history = training.learner.update, training.history
    is_over = training.stopped_early or len(history) == training.planned_epochs
    return "" if update is None or is_over else update.said


def _say(bar: tqdm[NoReturn], line: str, said: set[str]) -> None:
    """A line above the bar, once."""
    if line and line not in said:
        bar.write(line, file=sys.stderr)
        said.add(line)


def _postfix(report: Pulse | EpochReport) -> str:
    train = report.train
    text = (
        f"D {train.distortion:.2f} R {train.rate:.2f} αD {train.weighted_distortion:.2f} "
        f"βR {train.weighted_rate:.2f}"
    )
    if isinstance(report, EpochReport):
        text += f" val −ELBO {report.validation.negative_elbo:.2f}"
    return f"{text} {report.images_per_second:,.0f} img/s"

"""The progress line of a training: D, R, α·D, β·R, images per second and time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sized
from typing import NoReturn, Protocol, TypeVar

from tqdm import tqdm

from vaebalance.base.reports import CurveReport, EpochReport, StepReport
from vaebalance.base.verdicts import Verdict

Report = TypeVar("Report", bound=EpochReport | CurveReport, covariant=True)


class ReportingTraining(Protocol[Report]):
    """What the live line reads of a training: see `run.resumable.ResumableTraining`."""

    planned_epochs: int

    @property
    def history(self) -> Sized: ...
    @property
    def is_over(self) -> bool: ...
    @property
    def status(self) -> str: ...
    @property
    def verdicts_so_far(self) -> list[Verdict]: ...
    def __iter__(self) -> Iterator[StepReport | Report]: ...


def progress(training: ReportingTraining[Report], name: str = "train") -> Iterator[Report]:
    """Show a training's progress on stderr, and pass on the reports of its epochs."""
    layout = "{desc} |{bar:12}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]"
    seconds = 0.2 if sys.stderr.isatty() else 10.0  # a log gets a new line each time
    shown: set[str] = set()
    with tqdm(
        total=training.planned_epochs,
        initial=len(training.history),
        desc=name,
        bar_format=layout,
        mininterval=seconds,
        file=sys.stderr,
    ) as bar:
        _show_status(bar, training, shown)
        for report in training:
            _show_status(bar, training, shown)
            position = float(report.epoch)
            if isinstance(report, StepReport):
                position += report.batch / report.batches - 1
            bar.set_postfix_str(_postfix(report), refresh=False)
            bar.update(max(0, position - bar.n))
            if not isinstance(report, StepReport):
                for verdict in training.verdicts_so_far:
                    line = f"epoch {report.epoch}, so far {verdict}"
                    _show_once(bar, line, verdict.name, shown)
                yield report


def _show_status(bar: tqdm[NoReturn], training: ReportingTraining[Report], shown: set[str]) -> None:
    """Show how the steps run, unless there are none to come."""
    line = "" if training.is_over else training.status
    if line:
        _show_once(bar, line, line, shown)


def _show_once(bar: tqdm[NoReturn], line: str, key: str, shown: set[str]) -> None:
    """Write a line above the bar, unless a line with the same key was written."""
    if key not in shown:
        bar.write(line, file=sys.stderr)
        shown.add(key)


def _postfix(report: StepReport | EpochReport | CurveReport) -> str:
    train = report.train
    text = f"D {train.distortion:.2f} R {train.rate:.2f} "
    if isinstance(report, CurveReport):
        return text if report.beta is None else f"{text}β {report.beta:.3g}"
    text += f"αD {train.weighted_distortion:.2f} βR {train.weighted_rate:.2f}"
    if isinstance(report, EpochReport):
        text += f" val −ELBO {report.validation.negative_elbo:.2f}"
    return f"{text} {report.images_per_second:,.0f} img/s"

"""The progress line of a training and of a curve."""

import pytest

from vaebalance.base.reports import CurveReport, SplitReport, StepReport
from vaebalance.base.verdicts import Verdict
from vaebalance.run.resumable import ResumableTraining
from vaebalance.terminal.progress import progress

MEANS = SplitReport(
    distortion=12.5,
    rate=3.25,
    weighted_distortion=12.5,
    weighted_rate=1.5,
    weighted_loss=14.0,
    negative_elbo=15.75,
    alpha=1.0,
    beta=0.5,
)
VERDICT = Verdict("collapsed", "The rate is 0.", "Lower balance.beta.")


class Training(ResumableTraining[CurveReport]):
    """A training of two epochs that does nothing."""

    device = None
    status = "the training step is compiled (3 s)"

    def __init__(self):
        super().__init__(planned_epochs=2, checkpoint_every=1)

    def _train(self, epochs_done):
        for epoch in range(epochs_done + 1, 3):
            yield StepReport(epoch, 1, 2, MEANS, 1234.0)
            yield CurveReport(epoch, 2, MEANS, 0.5)

    @property
    def verdicts_so_far(self):
        return [VERDICT] if self.history else []

    def _state(self):
        return {}

    def _restore(self, state):
        assert state == {}

    def _report_from(self, values):
        return CurveReport.from_dict(values)


def test_reports_of_epochs_are_passed_on_and_what_there_is_to_say_is_said_once(capsys):
    training = Training()
    reports = list(progress(training, "curve"))
    assert [report.epoch for report in reports] == [1, 2]
    shown = capsys.readouterr().err
    assert "curve |" in shown
    assert "2.0/2 epochs" in shown
    assert "D 12.50 R 3.25 β 0.5" in shown
    assert shown.count("the training step is compiled (3 s)") == 1
    assert shown.count("epoch 1, so far collapsed") == 1


@pytest.mark.usefixtures("quick_checkpoints")
def test_it_begins_where_a_resume_does(tmp_path, capsys):
    first = Training()
    first.resume(tmp_path / "c.pt", "f")
    next(report for report in first if isinstance(report, CurveReport))
    again = Training()
    again.resume(tmp_path / "c.pt", "f")
    assert [report.epoch for report in again.history] == [1]
    assert [report.epoch for report in progress(again)] == [1, 2]
    assert "2.0/2 epochs" in capsys.readouterr().err
    assert again.is_over
    over = Training()
    over.resume(tmp_path / "c.pt", "f")
    assert over.history == again.history
    assert [report.epoch for report in progress(over)] == [1, 2]
    assert "compiled" not in capsys.readouterr().err

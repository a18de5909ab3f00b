"""DVC stage `train`: prepared tensors and params.yaml to a model, its metrics and an MLflow run."""

from pathlib import Path

from vaebalance import tracking
from vaebalance.base.process import run_stage
from vaebalance.data import open_dataset
from vaebalance.run import training_run
from vaebalance.settings import TrainSettings, load
from vaebalance.terminal.progress import progress

ARTIFACTS = Path("artifacts")


def main() -> None:
    """Train, resuming from the checkpoint of a killed training with the same fingerprint."""
    settings = load(TrainSettings)
    dataset = open_dataset(Path("data/prepared"))
    provenance = training_run.provenance_of(settings, dataset)
    checkpoint = Path("checkpoints") / f"{provenance.fingerprint[:16]}.pt"
    with tracking.run(provenance, "train") as tracker:
        training = training_run.Training(settings, dataset, provenance.fingerprint, checkpoint)
        for report in progress(training):
            tracker.log_epoch(report)
            tracker.log_verdicts(training.verdicts_so_far, so_far=True)
        training_run.save(training, provenance, ARTIFACTS, Path("metrics/train.json"))
        tracker.log_verdicts(training.verdicts)
    print(training_run.describe(training))
    checkpoint.unlink(missing_ok=True)  # last: until then, a new start needs it


if __name__ == "__main__":
    run_stage(main)

"""DVC stage `evaluate`: the trained model on the test split -> metrics, codes for the report."""

from pathlib import Path

from vaebalance import tracking
from vaebalance.base.devices import choose_device
from vaebalance.base.process import run_stage
from vaebalance.base.provenance import read_provenance
from vaebalance.data import open_dataset
from vaebalance.evaluation.results import describe, write, write_seconds
from vaebalance.evaluation.stage import evaluate
from vaebalance.settings import EvaluateSettings, load
from vaebalance.vae.saved_model import load_model

MODEL = Path("artifacts/model")
RESULTS = Path("artifacts/evaluation")
SECONDS = Path("artifacts/evaluation_timing.csv")


def main() -> None:
    """Evaluate the model, write and log the results, and print them with cautions."""
    settings = load(EvaluateSettings)
    dataset = open_dataset(Path("data/prepared"))
    model = load_model(MODEL).to(choose_device("auto"))
    with tracking.run(read_provenance(MODEL), "evaluate"):
        evaluation = evaluate(model, dataset, settings.evaluate, settings.seed)
        write(evaluation, Path("metrics/evaluation.json"), RESULTS)
        write_seconds(evaluation, SECONDS)
    binarised = dataset.info.binarisation != "none"
    print(describe(evaluation, model.likelihood.caution(binarised=binarised)))


if __name__ == "__main__":
    run_stage(main)

"""DVC stage `evaluate`: the trained model on the test split to metrics, codes and verdicts."""

from pathlib import Path

from vaebalance import tracking
from vaebalance.base.devices import choose_device
from vaebalance.base.files import write_json
from vaebalance.base.process import run_stage
from vaebalance.base.provenance import read_provenance
from vaebalance.base.verdicts import describe_verdicts, names, write_verdicts
from vaebalance.data import open_dataset
from vaebalance.evaluation.diagnosis import diagnose_trained
from vaebalance.evaluation.results import describe, write, write_seconds
from vaebalance.evaluation.stage import evaluate
from vaebalance.settings import EvaluateSettings, load
from vaebalance.vae.saved_model import load_model

ARTIFACTS = Path("artifacts")
MODEL = ARTIFACTS / "model"
RESULTS = ARTIFACTS / "evaluation"
SECONDS = ARTIFACTS / "evaluation_timing.csv"


def main() -> None:
    """Measure and diagnose the model, write and log the results, and print them."""
    settings = load(EvaluateSettings)
    dataset = open_dataset(Path("data/prepared"))
    model = load_model(MODEL).to(choose_device("auto"))
    with tracking.run(read_provenance(MODEL), "evaluate"):
        evaluation = evaluate(model, dataset, settings.evaluate, settings.seed)
        write(evaluation, Path("metrics/evaluation.json"), RESULTS)
        write_seconds(evaluation, SECONDS)
        verdicts = diagnose_trained(ARTIFACTS)
        write_verdicts(ARTIFACTS / "verdicts.json", verdicts)
        write_json(Path("metrics/verdict.json"), {"verdict": names(verdicts)})
    binarised = dataset.info.binarisation != "none"
    print(describe(evaluation, model.likelihood.caution(binarised=binarised)))
    print(describe_verdicts(verdicts))


if __name__ == "__main__":
    run_stage(main)

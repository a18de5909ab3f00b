"""DVC stage `report`: model, data, history, metrics -> artifacts/report: a page and its figures."""

from dataclasses import replace
from pathlib import Path

from vaebalance import tracking
from vaebalance.base.process import run_stage
from vaebalance.pages.report.build import build
from vaebalance.pages.report.comparable_runs import comparable_runs
from vaebalance.pages.report.inputs import read_inputs
from vaebalance.pages.report.trade_off import known_curve, trade_off
from vaebalance.settings import ReportSettings, load

REPORT = Path("artifacts/report")


def main() -> None:
    """Write the report, with comparable runs and a curve from MLflow, and print its path."""
    settings = load(ReportSettings)
    inputs = read_inputs(Path())
    with tracking.run(inputs.provenance, "report") as tracker:
        digest = inputs.dataset.info.digest
        runs, trials = tracking.runs(digest), tracking.trials(digest)
        points = comparable_runs(inputs.provenance, runs, trials)
        inputs = replace(inputs, comparable_runs=points)
        curve = known_curve(inputs.provenance, tracking.curves(digest), tracking.fetch_curve)
        slider = trade_off(inputs, curve)
        page = build(inputs, settings.report, settings.seed, REPORT, slider)
        tracker.log_artifacts(REPORT, "report")
    print(f"report: {page.resolve()}")


if __name__ == "__main__":
    run_stage(main)

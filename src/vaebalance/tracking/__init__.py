"""What MLflow shows: one run per pipeline state, nested runs for a study, and a served model.

    configure   point MLflow at this project's store, with safe defaults
    run         the run of a pipeline state, found by fingerprint, filled from the files on disk
    study       a study's run with one nested run a trial
    curve       the run of a curve, whose steps are places along it
    runs        other pipeline states as plain data
    fetch       a run's files, laid out as its pipeline wrote them
    trials      the finished trials of studies, likewise
    curves      the curves, likewise
    fetch_curve a file of a curve
    promote     a trial or a place on a curve to params.yaml, with the reason in a file beside it

The files are the truth and the run mirrors them: what the store lacks is filled in whenever a stage
runs, and a stage that runs again adds nothing. Only this folder knows MLflow, and importing it
imports neither MLflow nor torch.
"""

from vaebalance.tracking.curve_runs import CURVE_FOLDER, curve, log_along
from vaebalance.tracking.promotions import CurveOrigin, Selection
from vaebalance.tracking.retrieval import fetch, fetch_curve
from vaebalance.tracking.stages import promote, register_trained, run
from vaebalance.tracking.store import configure
from vaebalance.tracking.studies import StudyTracker, study
from vaebalance.tracking.summaries import (
    CurveSummary,
    RunSummary,
    TrialSummary,
    curves,
    runs,
    trials,
)
from vaebalance.tracking.tracker import EpochRecord, Tracker

__all__ = [
    "CURVE_FOLDER",
    "CurveOrigin",
    "CurveSummary",
    "EpochRecord",
    "RunSummary",
    "Selection",
    "StudyTracker",
    "Tracker",
    "TrialSummary",
    "configure",
    "curve",
    "curves",
    "fetch",
    "fetch_curve",
    "log_along",
    "promote",
    "register_trained",
    "run",
    "runs",
    "study",
    "trials",
]

"""Tracking in MLflow: one run per pipeline state, nested runs for a study, and a served model.

    configure         point MLflow at this project's store, with safe defaults
    run               the run of a pipeline state, found by fingerprint, filled from files on disk
    study             the run of a study, with one nested run per trial
    curve             the run of a curve, whose steps are places along it
    runs              other pipeline states as plain data
    trials            the finished trials of studies as plain data
    curves            the curves as plain data
    fetch             the files of a run, laid out as its pipeline wrote them
    fetch_curve       a file of a curve
    promote           a trial or a place on a curve to params.yaml, with the reason beside it
    register_trained  the trained model of a promotion to the registry

The files are the truth, and the run mirrors them: a stage fills in what the store lacks, and a
stage that runs again adds nothing. Only this room uses MLflow, and importing it imports neither
MLflow nor torch.
"""

from vaebalance.tracking.curve_runs import CURVE_FOLDER, curve, log_along
from vaebalance.tracking.queries import (
    CurveSummary,
    RunSummary,
    TrialSummary,
    curves,
    fetch,
    fetch_curve,
    runs,
    trials,
)
from vaebalance.tracking.registry import CurveOrigin, Selection
from vaebalance.tracking.stages import promote, register_trained, run
from vaebalance.tracking.store import configure
from vaebalance.tracking.studies import StudyTracker, study
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

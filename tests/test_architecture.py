"""The house as it stands: imports only point down, and stages declare the rooms they import."""

import ast

import pytest

from tests.helpers.stage_dependencies import (
    FILES,
    ROOT,
    SOURCE,
    imported,
    needed_files,
    room_of,
    rooms,
)
from vaebalance.base.provenance import CURVE_ROOMS, TRAINING_ROOMS
from vaebalance.settings import (
    CurveSettings,
    EvaluateSettings,
    PrepareSettings,
    ReportSettings,
    Settings,
    SliderSettings,
    TrainSettings,
    read_yaml,
)

# From the ground up. A module imports from lower lines only, or from its own room.
ROOMS = """
base
data vae terminal
balancing
training evaluation testing
objectives
settings
porting run tracking
stacking
curve
pages
study
cli
""".strip().splitlines()
LEVEL = {name: level for level, line in enumerate(ROOMS) for name in line.split()}


def test_every_room_has_a_level():
    found = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__.py"}
    assert found == set(LEVEL)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_point_down(path):
    own = room_of(path).removesuffix(".py")
    if own == "__init__":  # the face, whose names are loaded on first use: see test_face
        return
    others = {module.split(".")[1] for module in imported(path)} - {own}
    assert {other for other in others if LEVEL[other] >= LEVEL[own]} == set()


def test_nothing_imports_the_pipelines():
    for path in [*SOURCE.rglob("*.py"), *(ROOT / "pipelines").glob("*.py")]:
        assert "pipelines" not in {
            (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
        }


@pytest.mark.parametrize(
    ("library", "places"),
    [("mlflow", {"tracking"}), ("optuna", {"study"}), ("dvc", set())],
)
def test_each_tool_is_touched_in_one_place(library, places):
    users = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                users.add(room_of(path))
    assert users == places


STAGES = {stage: read_yaml(ROOT / file)["stages"][stage] for stage, file in FILES.items()}
VIEWS = {
    "prepare": PrepareSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "report": ReportSettings,
    "curve": CurveSettings,
    "slider": SliderSettings,
}

NEEDLESS = {
    "prepare": {"base"},
    "train": {"vae/conditioning.py"},
    "evaluate": {"balancing", "base", "vae/conditioning.py"},
    "report": {"base", "evaluation", "pages", "porting", "vae/conditioning.py"},
    "curve": {"base/best_epoch.py", "curve", "evaluation", "objectives", "run/training_run.py"},
    "slider": {"base", "curve", "evaluation", "objectives", "pages", "porting", "vae"},
}
"""What a stage's rooms hold that it does not import. An edit there runs the stage for nothing: in
`train`, which is dear, that may be one file alone."""


@pytest.mark.parametrize("stage", VIEWS)
def test_a_stage_depends_on_the_rooms_that_it_imports(stage):
    declared = [
        dependency.removeprefix("src/vaebalance/")
        for dependency in STAGES[stage]["deps"]
        if dependency.startswith("src/vaebalance/")
    ]
    assert declared == rooms(stage), "write them with `make deps`"


@pytest.mark.parametrize("stage", VIEWS)
def test_a_stage_depends_on_little_that_it_does_not_import(stage):
    files = {path for room in rooms(stage) for path in (SOURCE / room).rglob("*.py")}
    spare = [path.relative_to(SOURCE).as_posix() for path in files - needed_files(stage)]
    unlisted = [path for path in spare if not path.startswith(tuple(NEEDLESS[stage]))]
    assert unlisted == []


def test_a_fingerprint_is_of_the_rooms_that_dvc_tracks():
    assert sorted(TRAINING_ROOMS) == rooms("train")
    assert sorted(CURVE_ROOMS) == rooms("curve")


@pytest.mark.parametrize("stage", VIEWS)
def test_a_stages_view_has_exactly_its_params(stage):
    assert list(VIEWS[stage].model_fields) == STAGES[stage]["params"]


def test_params_yaml_is_the_whole_of_settings():
    raw = read_yaml(ROOT / "params.yaml")
    assert list(raw) == list(Settings.model_fields)


def test_every_knob_of_params_yaml_has_a_comment():
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    knobs = [line for line in lines if ":" in line and not line.startswith("#")]
    sections = {
        "evaluate",
        "train",
        "report",
        "tune",
        "curve",
        "model",
        "data",
        "likelihood",
        "balance",
    }
    bare = [line for line in knobs if "#" not in line]
    assert {line.strip().rstrip(":") for line in bare} <= sections | {"architecture"}


def test_stage_scripts_are_thin():
    for path in (ROOT / "pipelines").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 45, path.name

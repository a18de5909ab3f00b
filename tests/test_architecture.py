"""The house as it stands: imports only point down, and stages declare exactly what they import."""

import ast
from pathlib import Path

import pytest

from vaebalance.settings import (
    CurveSettings,
    EvaluateSettings,
    PrepareSettings,
    ReportSettings,
    Settings,
    TrainSettings,
    read_yaml,
)

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "vaebalance"

# From the ground up. A module imports from lower lines only, or from its own folder.
LAYERS = """
garbage memory
errors
cuda_graphs devices files optimizers randomness selection specs storage_url verdicts
epochs
data params_file
images likelihoods networks
model
elbo conditioning
arithmetic updates
balances penalties
tally
training
stacked
stacked_step
together
provenance
checkpoints saved_model
evaluation conventions diagnosis
objectives frontier
settings
experiment
progress tracking porting figures
tuning
report
slider
curve
curve_study separate
trade_off
dvc_plots comparison
""".strip().splitlines()
LEVEL = {name: level for level, line in enumerate(LAYERS) for name in line.split()}

# They check values that DVC tracks, or report what happens: none of them makes a stage stale.
NO_DEPENDENCY = {"settings", "tracking", "progress"}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, as `vaebalance.a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("vaebalance.")}


def files_of(module: str) -> list[Path]:
    """The files that importing `module` runs, the package's own docstring left out."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    found = [path.with_suffix(".py"), path / "__init__.py"]
    if module.count(".") > 1:
        found.append(path.parent / "__init__.py")
    return [file for file in found if file.is_file()]


def closure(script: Path) -> set[Path]:
    """Every file that a stage's script imports, itself first."""
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for module in imported(path):
            if module.split(".")[1] not in NO_DEPENDENCY:
                waiting += files_of(module)
    return found


def test_every_module_has_a_layer():
    names = {path.stem for path in SOURCE.iterdir() if not path.name.startswith("__")}
    assert names == set(LEVEL)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_point_down(path):
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert not imported(path)
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
    [("mlflow", {"tracking"}), ("optuna", {"tuning"}), ("dvc", set())],
)
def test_each_tool_is_touched_in_one_place(library, places):
    users = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                users.add(path.relative_to(SOURCE).parts[0].removesuffix(".py"))
    assert users == places


STAGES = {
    name: stage
    for file in ("dvc.yaml", "curve/dvc.yaml")
    for name, stage in read_yaml(ROOT / file)["stages"].items()
}
VIEWS = {
    "prepare": PrepareSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "report": ReportSettings,
    "curve": CurveSettings,
}


@pytest.mark.parametrize("stage", VIEWS)
def test_a_stage_depends_on_exactly_the_code_that_it_imports(stage):
    needed = closure(ROOT / "pipelines" / f"{stage}.py")
    declared = set()
    for dependency in STAGES[stage]["deps"]:
        path = ROOT / dependency
        if path.suffix == ".py":
            declared.add(path)
        elif SOURCE in path.parents:
            declared |= set(path.rglob("*.py"))
    missing = {str(path.relative_to(ROOT)) for path in needed - declared}
    needless = {str(path.relative_to(ROOT)) for path in declared - needed}
    assert (missing, needless) == (set(), set())


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

"""The storage of a study, and messages that show it without a password."""

import runpy
from pathlib import Path

import pytest

from tests.helpers.postgres import PASSWORD
from tests.helpers.toy_study import open_journal
from vaebalance.base.errors import UserError
from vaebalance.data import prepare
from vaebalance.settings import Settings, load
from vaebalance.study.command import run
from vaebalance.study.options import Options
from vaebalance.study.storage.file_storage import FileStorage
from vaebalance.study.storage.location import open_storage
from vaebalance.study.storage.postgres_storage import DatabaseStorage

ROOT = Path(__file__).parents[3]
RUN = Options(list=False, promote=None)
LIST = Options(list=True, promote=None)


def test_a_file_unless_a_url_is_given_and_the_environment_goes_first(
    tmp_path, server, database, monkeypatch
):
    monkeypatch.delenv("VAEBALANCE_STORAGE", raising=False)
    assert isinstance(open_storage(None, tmp_path / "s"), FileStorage)
    storage = open_storage(database, tmp_path / "s")
    assert isinstance(storage, DatabaseStorage)
    open_journal(tmp_path / "s", database)
    assert storage.names() == ["s"]
    with server.new_database() as other:
        monkeypatch.setenv("VAEBALANCE_STORAGE", other)
        assert open_storage(database, tmp_path / "s").names() == []


def test_a_url_of_the_environment_that_is_refused_is_named_without_its_password(
    project, monkeypatch
):
    project()
    monkeypatch.setenv("VAEBALANCE_STORAGE", f"mysql://me:{PASSWORD}@db/s")
    with pytest.raises(
        UserError, match=r"environment variable VAEBALANCE_STORAGE: .*'mysql'"
    ) as no:
        run(LIST)
    assert PASSWORD not in str(no.value)


def test_a_study_in_a_database_from_begin_to_promotion_and_its_password_nowhere(
    project, server, database, monkeypatch, capfd
):
    """The password is in the URL; search all files and output for it."""
    folder = project(study="in_database", trials="2", objective="{kind: negative_elbo}")
    name = database.partition("?")[0].rpartition("/")[2]
    monkeypatch.setenv("VAEBALANCE_STORAGE", server.tcp_url(name, PASSWORD))
    with pytest.raises(UserError, match=r"no such study yet in VAEBALANCE_STORAGE.*there: none"):
        run(LIST)
    run(RUN)
    run(LIST)
    run(Options(list=False, promote=0))
    shown = "".join(capfd.readouterr())
    assert "2 finished, of 2 wanted" in shown
    study = folder / "studies" / "in_database"
    assert not list(study.glob("*.journal"))
    assert (study / "trials.csv").is_file()
    assert (study / "figures" / "history.png").is_file()
    journal = open_journal(study, database)
    assert [trial.state for trial in journal.trials()] == ["finished"] * 2
    project(study="another")
    with pytest.raises(UserError, match=r"there: in_database"):
        run(LIST)

    assert PASSWORD not in shown
    assert PASSWORD not in repr((journal.notes, journal.trials()))
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "mlflow.db" in written
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []


def test_a_database_that_cannot_be_reached_is_one_line_and_no_traceback(
    project, server, monkeypatch, capsys
):
    project(storage=server.tcp_url("missing"))
    monkeypatch.setattr("sys.argv", ["tune.py", "--list"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(ROOT / "pipelines" / "tune.py"), run_name="__main__")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: params.yaml: tune.storage = 'postgresql+psycopg://vaebalance@")
    assert "PGPASSWORD" in line


def test_a_machine_that_tracks_elsewhere_is_told_so(
    project, database, monkeypatch, capsys, tmp_path
):
    """A machine with other data is refused."""
    folder = project(study="apart", storage=database, trials="1", epochs="1")
    run(RUN)
    run(RUN)
    assert "another MLflow store" not in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run(RUN)
    assert "note: this study was begun in another MLflow store" in capsys.readouterr().out
    other = tmp_path / "data" / "prepared"
    project(study="apart", storage=database, trials="1", epochs="1", max_images="140")
    settings = load(Settings)
    prepare(settings.data, settings.seed, other)
    monkeypatch.setattr("vaebalance.study.search.identity.PREPARED", other)
    with pytest.raises(UserError, match=r"data/prepared \(digest\): .* in the study, .* now"):
        run(RUN)
    assert len(open_journal(folder / "studies" / "apart", database).trials()) == 1

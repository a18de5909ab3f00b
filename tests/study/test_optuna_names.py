"""The names of Optuna that are not in its documentation, and what this project expects of them."""

import ast
import inspect
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from tests.helpers import toy_study as toy
from vaebalance import study
from vaebalance.study.storage.file_storage import FlockedJournal
from vaebalance.study.storage.journal import CONSTRAINT, VIOLATION
from vaebalance.study.trials import Outcome

FILES = list(Path(study.__file__).parent.rglob("*.py"))
PUBLIC = {"_replace"}
"""Public in spite of the underscore: a method of named tuples."""


def private_names(tree):
    """Return names with an underscore that belong to another module or object."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute) and not is_self(node.value):
            names = [node.attr]
        for name in names:
            if name.startswith("_") and not name.startswith("__") and name not in PUBLIC:
                yield name


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_private_name_of_another_module_is_used(path):
    found = list(private_names(ast.parse(path.read_text(encoding="utf-8"))))
    assert found == [], f"{path.name} uses {found}: take a public way, or write its test here"


def test_the_scan_finds_private_names():
    text = "from optuna.a._b import C\nself._storage._get_stale_trial_ids(1)\nself._own.name"
    assert list(private_names(ast.parse(text))) == ["_b", "_get_stale_trial_ids"]


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_the_journal_asks_our_lock_before_it_writes(tmp_path):
    asked = []

    class Recording(FlockedJournal):
        def acquire(self):
            asked.append("acquire")
            return super().acquire()

        def release(self):
            asked.append("release")
            super().release()

    lock = Recording(tmp_path / "lock")
    assert "lock_obj" in parameters(JournalFileBackend), "Optuna's journal takes no lock any more"
    backend = JournalFileBackend(str(tmp_path / "journal"), lock_obj=lock)
    backend.append_logs([{"op_code": 0}])
    assert asked == ["acquire", "release"], "Optuna's journal does not lock as FlockedJournal does"


def test_our_lock_replaces_all_methods_of_optunas():
    """Otherwise a new method would use Optuna's own lock file."""
    theirs = {name for name in vars(JournalFileOpenLock) if not name.startswith("__")}
    missing = theirs - set(vars(FlockedJournal))
    assert missing == set(), f"FlockedJournal lacks {missing} of Optuna's JournalFileOpenLock"


def test_the_database_storage_has_heartbeats_and_an_engine(database):
    assert parameters(RDBStorage.record_heartbeat) == ["self", "trial_id"]
    assert {"heartbeat_interval", "grace_period"} <= set(parameters(RDBStorage))
    assert parameters(optuna.storages.get_storage) == ["storage"]
    storage = RDBStorage(database)
    assert isinstance(storage.engine, sqlalchemy.Engine)
    assert storage.url == database


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("trial_heartbeats", {"trial_id", "heartbeat"}),
        ("trial_user_attributes", {"trial_id", "key", "value_json"}),
    ],
)
def test_optunas_tables_have_the_columns_that_our_statements_name(database, table, columns):
    inspector = sqlalchemy.inspect(RDBStorage(database).engine)
    assert table in inspector.get_table_names(), f"Optuna has no table {table} any more"
    found = {column["name"]: column["type"] for column in inspector.get_columns(table)}
    assert columns <= set(found), f"Optuna's {table} has {sorted(found)}"
    if table == "trial_heartbeats":  # compared with now() in UTC
        assert isinstance(found["heartbeat"], sqlalchemy.DateTime)
        assert not found["heartbeat"].timezone


def test_optuna_reads_our_constraint(tmp_path):
    journal = toy.open_journal(tmp_path / "s")
    trial = journal.add(toy.SPACE, {toy.BETA: 1.0}, "me")
    journal.finish(trial, Outcome((1.0,), {}, violation=0.25))
    (found,) = journal._study.get_trials()
    assert found.system_attrs[CONSTRAINT] == 0.25
    assert found.constraints == {VIOLATION: 0.25}, f"Optuna does not read {CONSTRAINT!r} any more"

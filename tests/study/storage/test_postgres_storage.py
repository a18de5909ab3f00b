"""A study in PostgreSQL: workers that vanish, sleep or lose the server, and invalid URLs."""

import os
import signal
import threading
import time
import traceback

import psycopg
import pytest

from tests.helpers import toy_study as toy
from tests.helpers.postgres import PASSWORD, USER
from tests.helpers.toy_study import spawn, wait_until
from vaebalance.base.errors import UserError
from vaebalance.study.storage.postgres_storage import DatabaseStorage, Rhythm
from vaebalance.study.trials import Outcome


@pytest.fixture
def journal(tmp_path, database):
    return toy.open_journal(tmp_path / "s", database)


def numbers(text):
    return [int(word) for word in text.split() if word.isdecimal()]


def outcome(trial):
    return Outcome((toy.valley(trial.point),), {})


def test_the_trial_of_a_killed_worker_is_run_again_by_another_and_no_other_twice(
    tmp_path, database, journal
):
    victim, other = (
        spawn(tmp_path / name / "s", "quasi_random", 10, name, 2, database, seconds=0.5)
        for name in "ab"
    )
    seen = [victim.stdout.readline() for _ in range(2)]
    os.kill(victim.pid, signal.SIGKILL)
    ran = other.read()
    assert other.returncode == 0
    trials = journal.trials()
    assert [trial.number for trial in trials] == list(range(10))
    assert {trial.state for trial in trials} == {"finished"}
    assert [trial.values for trial in trials] == [(toy.valley(t.point),) for t in trials]
    assert len({trial.point[toy.BETA] for trial in trials}) == 10
    theirs = numbers("".join(seen) + victim.stdout.read())
    killed_in = theirs[-1]
    assert sorted([*theirs[:-1], *numbers(ran)]) == list(range(10))
    assert {t.number for t in trials if t.results["process"] == "a"} == set(theirs) - {killed_in}


def test_a_worker_that_slept_leaves_its_trial_to_who_took_it_over(tmp_path, database, journal):
    sleeper = spawn(tmp_path / "a/s", "quasi_random", 2, "a", 1, database, seconds=1)
    assert sleeper.stdout.readline() == "trial 0\n"
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        other = spawn(tmp_path / "b/s", "quasi_random", 2, "b", 1, database)
        assert sorted(numbers(other.read())) == [0, 1]
        before = journal.trials()
        assert [trial.results for trial in before] == [{"process": "b"}] * 2
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.read()
    assert sleeper.returncode == 0
    assert journal.trials() == before


def test_a_trial_is_attended_for_as_long_as_it_runs(database, journal):
    trial = journal.add(toy.SPACE, {toy.BETA: 1.0}, "me")
    with journal.lease(trial):
        for _ in range(toy.RHYTHM.grace + 1):
            time.sleep(1)
            assert journal.stale([trial]) == []
    wait_until(lambda: journal.stale(journal.trials()) == [trial])


def test_a_worker_killed_between_adding_a_trial_and_its_first_heartbeat_is_gone(
    monkeypatch, journal
):
    monkeypatch.setattr(DatabaseStorage, "acquired", lambda *_: None)
    trial = journal.add(toy.SPACE, {toy.BETA: 1.0}, "killed")
    assert journal.stale(journal.trials()) == [trial]


def test_who_leaves_late_takes_no_heartbeat_of_another(journal):
    trial = journal.add(toy.SPACE, {toy.BETA: 1.0}, "asleep")

    def sleep_and_leave():
        with journal.lease(trial):
            journal.take_over(trial, "me")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sleep_and_leave()
    assert journal.stale(journal.trials()) == []


def test_machines_in_other_time_zones_hear_each_other(tmp_path, database, monkeypatch):
    journals = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        monkeypatch.setenv("PGTZ", zone)
        journals.append(toy.open_journal(tmp_path / "s", database))
    east, west = journals
    added = [
        (there, here.add(toy.SPACE, {toy.BETA: 1.0}, "me"))
        for here, there in ((east, west), (west, east))
    ]
    for there, trial in added:
        assert there.stale([trial]) == []
    for there, trial in added:
        wait_until(lambda there=there, trial=trial: there.stale([trial]) == [trial])


def test_nobody_is_judged_by_a_server_that_was_down(server, journal):
    trial = journal.add(toy.SPACE, {toy.BETA: 1.0}, "me")
    server.stop()
    time.sleep(toy.RHYTHM.grace)
    server.start()
    assert journal.with_retries(lambda: journal.stale([trial])) == []
    wait_until(lambda: journal.stale([trial]) == [trial])


@pytest.mark.parametrize("moment", ["in a trial", "at its end"])
def test_a_server_that_restarts_costs_no_trial(server, database, tmp_path, moment):
    expected = toy.pairs(toy.run(tmp_path / "unhurt", "quasi_random", 5))
    ran, threads = [], []

    def restart():
        time.sleep(1)
        server.start()

    def objective(trial):
        ran.append(trial.number)
        if trial.number == 2:
            server.stop()
            threads.append(threading.Thread(target=restart))
            threads[0].start()
            if moment == "in a trial":
                threads[0].join()
        return outcome(trial)

    trials = toy.run(tmp_path / "s", "quasi_random", 5, objective, url=database)
    threads[0].join()
    assert toy.pairs(trials) == expected
    assert ran == [0, 1, 2, 3, 4]


def test_cut_connections_cost_no_trial(server, database, tmp_path):
    ran = []

    def objective(trial):
        ran.append(trial.number)
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'vaebalance'"
        )
        return outcome(trial)

    trials = toy.run(tmp_path / "s", "quasi_random", 4, objective, url=database)
    assert ran == [0, 1, 2, 3]
    assert [trial.state for trial in trials] == ["finished"] * 4


def test_a_server_that_stays_away_is_an_error_and_the_study_goes_on_later(
    server, tmp_path, database, monkeypatch
):
    def objective(trial):
        if trial.number == 2:
            server.stop()
        return outcome(trial)

    monkeypatch.setattr(toy, "RHYTHM", Rhythm(heartbeat=1, grace=3, patience=2))
    try:
        with pytest.raises(
            UserError, match=r"connection was lost and not regained in 2 s.*goes on"
        ):
            toy.run(tmp_path / "s", "quasi_random", 4, objective, url=database)
    finally:
        server.start()
    trials = toy.run(tmp_path / "s", "quasi_random", 4, url=database)
    assert [trial.state for trial in trials] == ["finished"] * 4


def refused(url):
    """Return the error for a URL, and check that it is one line without the password."""
    with pytest.raises(UserError) as caught:
        DatabaseStorage(url, "s", "params.yaml: tune.storage")
    whole = "".join(traceback.format_exception(caught.value))
    for secret in (PASSWORD, "wr0ng"):
        assert secret not in whole
    (line,) = str(caught.value).splitlines()
    assert line.startswith("params.yaml: tune.storage")
    return line


def test_a_wrong_url_says_what_is_wrong_and_shows_no_password(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "password authentication failed" in refused(server.tcp_url(password="wr0ng"))
    assert "~/.pgpass or PGPASSWORD" in refused(server.tcp_url())
    nobody = refused(server.tcp_url(user="nobody", password="wr0ng"))
    assert f"://nobody@127.0.0.1:{server.port}/postgres" in nobody
    missing = refused(server.tcp_url("missing", PASSWORD))
    assert 'database "missing" does not exist; make it with `createdb missing`' in missing
    host = refused(f"postgresql://{USER}:{PASSWORD}@no-such-host.invalid/postgres")
    assert "no-such-host.invalid" in host
    assert "is the server there" in host
    assert "refused" in refused(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:1/postgres")
    assert "is its port a number" in refused(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:x/postgres")
    assert "nonsense" in refused(f"{server.tcp_url(password=PASSWORD)}?nonsense=1")
    query = refused(f"{server.tcp_url()}?password=wr0ng")
    assert "password authentication failed" in query


def test_a_user_who_may_make_no_tables_is_told_so(server, database):
    server.execute("CREATE ROLE reader LOGIN")
    assert "GRANT CREATE" in refused(database.replace(USER, "reader"))


@pytest.mark.parametrize("way", ["url", "query", "PGPASSWORD", "~/.pgpass"])
def test_a_password_is_found_where_libpq_finds_it(server, database, way, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    name = database.partition("?")[0].rpartition("/")[2]
    url = server.tcp_url(name, PASSWORD if way == "url" else "")
    if way == "query":
        url += f"?password={PASSWORD}"
    if way == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    if way == "~/.pgpass":
        file = tmp_path / ".pgpass"
        file.write_text(f"127.0.0.1:*:*:{USER}:{PASSWORD}\n")
        file.chmod(0o600)
    storage = DatabaseStorage(url, "s", "tune.storage")
    assert storage.names() == []
    assert PASSWORD not in storage._database.url + storage._shown


def test_a_database_of_another_optuna_is_named(database, journal):
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    assert "no longer compatible with the table schema" in refused(database)

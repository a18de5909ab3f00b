"""Run several processes on one study: each claims trials, the parent shows and stops them.

They share the study on disk as any processes do (see `search`), so that a worker that is killed
costs no more than its epochs: another one runs its trial again. The threads are divided among the
workers, and the prepared tensors are mapped from one file. Each worker reports to the parent
through a pipe of its own, so that a worker that dies while it writes leaves no lock behind. A
worker whose parent is gone, or has closed the pipe, finds the pipe broken at its next report and
stops there: an exception out of a signal could strike anywhere, and be lost in a destructor.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from vaebalance.base.errors import UserError
from vaebalance.base.process import keep_all, keep_freed
from vaebalance.base.reports import EpochReport
from vaebalance.study.trials import Trial

STOPPED = 130  # exit status: stopped by the user
FAILED = 1  # exit status: an exception, with its traceback printed
REFUSED = 2  # exit status: a UserError, which the parent reports
JOIN_SECONDS = 30.0
"""Time for a worker to end its epoch; its trial is run again anyway."""


class Message(NamedTuple):
    """A worker's report to the parent."""

    kind: Literal["started", "epoch", "ended", "waiting", "note", "refused"]
    number: int = -1  # of the trial
    report: EpochReport | None = None
    text: str = ""


Work = Callable[[Path, "Reporter"], None]
"""Runs trials of the study in a folder until it is complete."""


class Reporter:
    """Reports a search and its epochs to the parent; a `search.Listener`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def started(self, trial: Trial) -> None:
        """See `search.Listener`."""
        self.tell(Message("started", trial.number))

    def epoch(self, number: int, report: EpochReport) -> None:
        """Report an epoch of a trial."""
        self.tell(Message("epoch", number, report))

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """See `search.Listener`."""
        self.tell(Message("ended", number))

    def waiting(self, trials: Sequence[Trial]) -> None:
        """See `search.Listener`."""
        self.tell(Message("waiting"))

    def note(self, text: str) -> None:
        """See `search.Listener`."""
        self.tell(Message("note", text=text))

    def tell(self, message: Message) -> None:
        """Send a message.

        Raises:
            KeyboardInterrupt: the parent is gone, or wants the worker to stop.
        """
        try:
            self._connection.send(message)
        except OSError as error:
            raise KeyboardInterrupt from error


@dataclass
class Worker:
    """A process, its end of the pipe, and the trials that it runs."""

    process: SpawnProcess
    connection: Connection
    trials: set[int] = field(default_factory=set)


@contextlib.contextmanager
def working(count: int, work: Work, folder: Path) -> Iterator[list[Worker]]:
    """Start `count` processes on `work`; stop them and wait for them however the block ends."""
    context = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    threads = max(1, torch.get_num_threads() // count)
    workers = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_run, args=(work, folder, theirs, threads), daemon=True
            )
            process.start()
            theirs.close()
            workers.append(Worker(process, ours))
        yield workers
    finally:
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.process.join(JOIN_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def listen(workers: Sequence[Worker]) -> Iterator[tuple[Worker, Message | None]]:
    """Yield the workers' reports until all are gone; None: this worker is.

    Raises:
        UserError: a worker raised it, or every worker was killed.
    """
    present = {worker.connection: worker for worker in workers}
    while present:
        for connection in wait(list(present)):
            assert isinstance(connection, Connection)
            worker = present[connection]
            try:
                message: Message | None = connection.recv()
            except (EOFError, OSError):
                message = None
            if message is None:
                del present[connection]
                worker.process.join()
                if worker.process.exitcode == FAILED:
                    raise RuntimeError("a worker failed; its traceback is above")
            elif message.kind == "refused":
                raise UserError(message.text)
            else:
                if message.kind == "started":
                    worker.trials.add(message.number)
                elif message.kind == "ended":
                    worker.trials.discard(message.number)
            yield worker, message
    codes = [worker.process.exitcode for worker in workers]
    if all(code != 0 for code in codes):
        raise UserError(
            f"all workers ended before the study did (exit status {', '.join(map(str, codes))}; "
            "-9: killed, perhaps for memory). No finished trial is lost; the same command goes on. "
            "Fewer tune.workers need less memory."
        )


def _run(work: Work, folder: Path, connection: Connection, threads: int) -> None:
    """Run a worker process."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the parent handles what all processes receive
        if hasattr(signal, name):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed()
    reporter = Reporter(connection)
    try:
        work(folder, reporter)
    except UserError as error:
        reporter.tell(Message("refused", text=str(error)))
        raise SystemExit(REFUSED) from None
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None
    finally:
        keep_all()

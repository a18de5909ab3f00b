"""A verdict on a training: what is wrong with it, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_json

HEALTHY = "healthy"


@dataclass(frozen=True)
class Verdict:
    """One thing that is wrong."""

    name: str
    """A few words, always the same for the same thing."""
    evidence: str
    """The numbers that say so."""
    remedy: str
    """The knob of params.yaml to turn, and which way."""
    since_epoch: int | None = None
    """The first epoch of those, up to the last, of which it holds; None: not counted."""

    def __str__(self) -> str:
        """All of it in a line."""
        since = "" if self.since_epoch is None else f" (since epoch {self.since_epoch})"
        return f"{self.name}{since}. {self.evidence} {self.remedy}"


def read_verdicts(path: Path) -> list[Verdict]:
    """Read the verdicts that the evaluate stage wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return [Verdict(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run `dvc repro evaluate` first.") from error
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); run `dvc repro --force evaluate`."
        ) from error


def names(verdicts: Iterable[Verdict]) -> str:
    """Return the names of the verdicts in one line."""
    return "; ".join(verdict.name for verdict in verdicts) or HEALTHY


def describe_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return one line per verdict, for the terminal."""
    return "\n".join([f"verdict: {verdict}" for verdict in verdicts] or [f"verdict: {HEALTHY}"])


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts that `read_verdicts` reads."""
    write_json(path, [asdict(verdict) for verdict in verdicts])

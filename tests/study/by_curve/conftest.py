"""params.yaml with `tune.method: curve` and other values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaebalance.settings import Settings, parse, read_yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def asking() -> Callable[..., Settings]:
    """Return a function that makes settings: `asking({"objective": …}, balance={…})`."""

    def make(tune: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Settings:
        raw = copy.deepcopy(read_yaml(ROOT / "params.yaml"))
        raw["tune"] |= {"method": "curve"} | (tune or {})
        for name, section in sections.items():
            raw[name] = section if "kind" in section else raw[name] | section
        return parse(raw)

    return make

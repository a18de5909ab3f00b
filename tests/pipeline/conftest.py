"""Fixtures of the end-to-end tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import Project, clone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone that one module's tests share, in their order."""
    return clone(tmp_path_factory.mktemp("project") / "vaebalance")

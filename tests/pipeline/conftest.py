"""Fixtures of the end-to-end tests."""

import pytest

from tests.helpers.project import Project, clone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Clone the project for one module's tests, which share the clone in their order."""
    return clone(tmp_path_factory.mktemp("project") / "vaebalance")

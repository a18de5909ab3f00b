"""Fixtures of studies, whose trials are trained together."""

from tests.study.conftest import made_project, prepared, project, write_params

__all__ = ["made_project", "prepared", "project", "write_params"]

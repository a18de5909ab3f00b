"""Validation of the study database's URL, and hiding of its password.

A password is never shown, not even when the URL is refused because it contains one.
"""

from __future__ import annotations

import re

SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
EXAMPLE = "postgresql+psycopg://user@host/database"
ENVIRONMENT = "VAEBALANCE_STORAGE"
"""Environment variable whose URL overrides `tune.storage`, and may contain a password."""

# Up to the last @, whatever characters the password has: hide too much rather than too little.
_USERINFO = re.compile(r"(://[^:/@\s]*):[^\n]*@")
_WITHOUT_SCHEME = re.compile(r"(^['\"]?[^:/@\s]*):(?!//)[^\n]*@")
_PARAMETER = re.compile(r"(password=)[^&\n]*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Replace every URL password in `text` with ***."""
    for pattern in (_USERINFO, _WITHOUT_SCHEME):
        text = pattern.sub(r"\1:***@", text)
    return _PARAMETER.sub(r"\1***", text)


def has_password(url: str) -> bool:
    """Return whether the URL contains a password."""
    return without_passwords(url) != url


def refusal(url: str) -> str | None:
    """Return why a study cannot be stored at `url` and what to use instead; None if it can."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return f"not a URL; use one such as {EXAMPLE}, or null for a file in studies/"
    if scheme.startswith("sqlite"):
        return (
            "an SQLite file is not supported: workers die when several write to it under load; use "
            "null (a file in studies/, shared by the processes of one machine) or PostgreSQL, as "
            f"in {EXAMPLE}"
        )
    if scheme not in SCHEMES:
        return (
            f"{scheme!r} is not supported: machines share a study through PostgreSQL's locks, with "
            f"psycopg as the driver; use a URL such as {EXAMPLE}, or null for a file in studies/"
        )
    return None

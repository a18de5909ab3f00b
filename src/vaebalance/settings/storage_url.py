"""The URL of the database that keeps studies: what is allowed, and how it is shown.

A password is never shown: not even where the URL is refused for having one.
"""

from __future__ import annotations

import re

SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
EXAMPLE = "postgresql+psycopg://user@host/database"
ENVIRONMENT = "VAEBALANCE_STORAGE"
"""Environment variable whose URL goes before that of tune.storage, and may have a password."""

# To the last @, whatever a password is made of: rather too much is hidden than too little.
_USERINFO = re.compile(r"(://[^:/@\s]*):[^\n]*@")
_WITHOUT_SCHEME = re.compile(r"(^['\"]?[^:/@\s]*):(?!//)[^\n]*@")
_PARAMETER = re.compile(r"(password=)[^&\n]*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """The text with *** in the place of every password of a URL."""
    for pattern in (_USERINFO, _WITHOUT_SCHEME):
        text = pattern.sub(r"\1:***@", text)
    return _PARAMETER.sub(r"\1***", text)


def has_password(url: str) -> bool:
    """Whether a password is written in the URL."""
    return without_passwords(url) != url


def refusal(url: str) -> str | None:
    """Why studies cannot be kept there, and what to do instead; None: they can."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return f"not a URL; give one such as {EXAMPLE}, or null for a file in studies/"
    if scheme.startswith("sqlite"):
        return (
            "an SQLite file is refused: workers die when several write to it under load; use null "
            "(a file in studies/, which processes of one machine share) or PostgreSQL, as "
            f"{EXAMPLE}"
        )
    if scheme not in SCHEMES:
        return (
            f"{scheme!r} is refused: the locks by which machines share a study are PostgreSQL's, "
            f"and psycopg is its driver here; give a URL such as {EXAMPLE}, or null for a file in "
            "studies/"
        )
    return None

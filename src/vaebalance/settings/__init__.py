"""params.yaml: read, checked as a whole, and edited.

    params        the sections, one view per stage, and what is said of a wrong key
    params_file   edits that leave the rest of the file as it was
    storage_url   the address of a study's database, without its password

No DVC stage depends on this room: it only checks values that DVC tracks.
"""

from vaebalance.settings.params import (
    PARAMS,
    CurveSettings,
    CurveSpec,
    EvaluateSettings,
    PrepareSettings,
    ReportSettings,
    ReportSpec,
    Settings,
    Span,
    TrainSettings,
    TuneSpec,
    load,
    load_settings,
    parse,
    read_yaml,
    view_of,
)

__all__ = [
    "PARAMS",
    "CurveSettings",
    "CurveSpec",
    "EvaluateSettings",
    "PrepareSettings",
    "ReportSettings",
    "ReportSpec",
    "Settings",
    "Span",
    "TrainSettings",
    "TuneSpec",
    "load",
    "load_settings",
    "parse",
    "read_yaml",
    "view_of",
]

"""Reading, checking and editing params.yaml.

    params        the sections, one view per stage, and error messages
    params_file   edits that leave the rest of the file unchanged
    schema        the JSON schema for editors
    storage_url   the URL of a study's database, shown without its password

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
    SliderSettings,
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
    "SliderSettings",
    "Span",
    "TrainSettings",
    "TuneSpec",
    "load",
    "load_settings",
    "parse",
    "read_yaml",
    "view_of",
]

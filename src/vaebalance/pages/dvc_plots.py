"""Offline template for `dvc plots show`: `python -m vaebalance.pages.dvc_plots PATH`.

DVC's own template loads Vega from a CDN and is blank offline (treeverse/dvc#5679). DVC puts the
plots in place of `{plot_divs}`; the template omits `{scripts}`, DVC's loader. To make
`dvc plots show` use it by default, name it in .dvc/config, relative to .dvc:

    [plots]
        html_template = plots/offline.html
"""

from __future__ import annotations

import sys
from pathlib import Path

from vaebalance.base.files import write_text
from vaebalance.pages.kit.vega import vega_bundle

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>vaebalance: dvc plots</title>
<style>
body { margin: 1.5rem; font: 15px/1.5 system-ui, sans-serif; color: #1c2127; background: #fff; }
.plots { display: flex; flex-wrap: wrap; gap: 2rem; }
</style>
<script>
BUNDLE
</script>
</head>
<body>
<h1>dvc plots</h1>
<div class="plots">
{plot_divs}
</div>
</body>
</html>
"""


def write_dvc_plots_template(path: Path) -> None:
    """Write the template for `dvc plots show --html-template` to `path`."""
    bundle = vega_bundle()
    taken = [name for name in ("{plot_divs}", "{scripts}", "{refresh_tag}") if name in bundle]
    if taken:
        raise ValueError(f"the Vega bundle contains DVC's placeholders {taken}")
    write_text(path, TEMPLATE.replace("BUNDLE", bundle))


def main() -> None:
    """Write the template to the path on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vaebalance.pages.dvc_plots PATH")
    write_dvc_plots_template(Path(sys.argv[1]))


if __name__ == "__main__":
    main()

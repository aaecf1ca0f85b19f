"""The platform's folder for caches: the only place that is written to without being asked for."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return gradflow's folder among the platform's caches; it is not made.

    $XDG_CACHE_HOME/gradflow or ~/.cache/gradflow; on macOS in ~/Library/Caches, on Windows in %LOCALAPPDATA%.
    """
    home = Path.home()
    named = Path(os.environ.get("XDG_CACHE_HOME") or ".")
    # the XDG specification: a path that is not absolute is to be ignored
    if named.is_absolute():
        return named / "gradflow"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "gradflow"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "gradflow"

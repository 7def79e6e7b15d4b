"""Python imports this first where PYTHONPATH has this folder: time.time() is ahead by the seconds in CLOCK_FILE.

The clock that only runs forward stays as it is, as it does when somebody sets a host's clock.
"""

import os
import time
from pathlib import Path

_true, _file = time.time, Path(os.environ["CLOCK_FILE"])


def _set() -> float:
    return _true() + float(_file.read_text())


time.time = _set

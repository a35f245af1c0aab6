"""Variables that the libraries and skn read when they are loaded.

Tests import this file first, for several test processes at once.
"""

import os

# Waiting threads sleep. Spinning threads of one test would take the cores from other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Ray lets its workers run after every other process (nice 15). Beside tests on all cores, the workers would not run at
# all.
os.environ.setdefault("RAY_worker_niceness", "0")

# The caller's terminal does not decide what a test sees: tables have the width that they have in a file, no colours.
os.environ["COLUMNS"] = "140"
for name in ("LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

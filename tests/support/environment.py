"""Variables that the libraries read when they are loaded.

Tests import this file first, for several test processes at once.
"""

import os

# Waiting threads sleep. Spinning threads of one test would take the cores from other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Ray lets its workers run after every other process (nice 15). Beside tests on all cores, the workers would not run at
# all.
os.environ.setdefault("RAY_worker_niceness", "0")

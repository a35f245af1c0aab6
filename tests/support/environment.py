"""What the libraries read when they are loaded; the first import of the tests, for tests run several at once."""

import os

# Threads that wait for work sleep: spinning, those of one test take the cores from another's.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Ray steps back behind every other process (nice 15): beside tests on all cores its workers would stand still.
os.environ.setdefault("RAY_worker_niceness", "0")

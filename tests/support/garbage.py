"""What is imported and collected stays to the end of the tests, so the garbage collector need not look at it.

The Trainer of transformers collects garbage at the start of every training. Among the modules of all libraries and
thousands of collected tests, that took longer than a tiny training.
"""

import gc


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Some libraries report what was not collected when the process ends."""
    gc.unfreeze()

"""``skn tasks``: the registry as a table."""

from __future__ import annotations

from skn.stages.common import print_table
from skn.tasks import TASKS, Task


def tasks() -> None:
    """Print every task of the registry."""
    print_table(
        "Tasks", ["task", "columns", "classes", "label words", "where"], [_row(task) for task in TASKS.values()]
    )


def _row(task: Task) -> list[str]:
    columns = " + ".join(name for name in (task.text, task.pair) if name) + f" → {task.label}"
    words = ", ".join(task.label_words[:4]) + (", …" if len(task.label_words) > 4 else "")
    where = task.hub or (f"skn binarize --task {task.binarized_from}" if task.binarized_from else "--data")
    return [task.name, columns, str(len(task.classes)), words, where]

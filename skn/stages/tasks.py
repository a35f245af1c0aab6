"""``skn tasks``: the registry as a table."""

from __future__ import annotations

from skn.console import print_table, tell
from skn.data.tasks import TASKS, Task


def tasks() -> None:
    """Print every task of the registry.

    Tasks of one set of labels share a row, and their names follow below the table.
    """
    families: dict[str, list[Task]] = {}
    for task in TASKS.values():
        families.setdefault(f"{task.name.rpartition('/')[0]}/…" if task.one_of else task.name, []).append(task)
    rows = [_row(name, members[0]) for name, members in families.items()]
    print_table("Tasks", ["task", "columns", "classes", "label words", "where"], rows)
    for name, members in families.items():
        if len(members) > 1:
            tell(f"{name} is one task each of: {', '.join(task.classes[1] for task in members)}")


def _row(name: str, task: Task) -> list[object]:
    columns = " + ".join(name for name in (task.text, task.pair) if name) + f" → {task.label}"
    words = ", ".join(task.label_words[:4]) + (", …" if len(task.label_words) > 4 else "")
    where = task.hub or (f"skn binarize --task {task.binarized_from}" if task.binarized_from else "--data")
    return [name, columns, len(task.classes), words, where]

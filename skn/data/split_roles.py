"""Decide which split of a data set is the test split, if the split named test has no labels.

GLUE does not publish the labels of its test split, so figures are reported on its validation split. The registry takes
that split as test from the hub. The same files must give the same test rows, whatever way skn reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skn.data.tasks import Task


def split_roles(
    origins: Mapping[str, str], hidden: Mapping[str, str], task: Task | None, note: Callable[..., None]
) -> dict[str, str]:
    """Map skn's splits to the splits of the data. Rows of train later fill a split that is missing here.

    :param origins: the place of each split of the data.
    :param hidden: the held-out splits without any label, and in words why they count as unlabelled.

    Example::

        >>> split_roles(dict(train="a", validation="b", test="c"), {"test": ""}, None, lambda *_: None)
        {'train': 'train', 'test': 'validation'}
    """
    labelled = [name for name in origins if name not in hidden]
    no_test = "test" in hidden or ("test" not in origins and task is not None and task.tests_on_validation)
    stands_in = no_test and "validation" in labelled
    if stands_in and "test" not in hidden:
        where, called = origins["validation"], task and task.name
        note("%s: is the test split, as task %s has it; rows of train become the validation split", where, called)
    for name, why in hidden.items():
        taken = f"rows of train become the {name} split instead"
        if stands_in and name == "test":
            taken = "the validation split is the test split instead, and rows of train become the validation split"
        note("%s: no row has a label%s; %s", origins[name], why, taken)
    return {"test" if stands_in and name == "validation" else name: name for name in labelled}

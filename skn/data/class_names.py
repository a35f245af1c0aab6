"""Choose the names of classes for people. The data keeps its labels, and only this file maps labels to names."""

from __future__ import annotations

from collections.abc import Sequence

from skn.data.labels import are_numbers
from skn.data.tasks import DEFAULT_LABEL_WORDS
from skn.errors import InputError
from skn.texts import has_controls


def choose_class_names(given: Sequence[str] | None, labels: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the user's names, or the labels of the data, or the label words if all labels are bare numbers.

    The default letters for five and more classes are not used as names, because numbers say more. Raises
    :class:`InputError` for names that do not fit the classes.

    Example::

        >>> choose_class_names(None, ["0", "1"], ["terrible", " great"])
        ['terrible', 'great']
    """
    if given is not None:
        return _checked([name.strip() for name in given], labels)
    plain = [word.strip() for word in words]
    letters = len(words) > 4 and plain == list(DEFAULT_LABEL_WORDS.get(len(words), ()))
    named = len(plain) == len(labels) == len(set(plain)) and not letters
    return plain if named and are_numbers(labels) else list(labels)


def _checked(names: list[str], labels: Sequence[str]) -> list[str]:
    if len(names) != len(labels):
        raise InputError(
            f"{len(labels)} classes ({', '.join(labels[:8])}) but {len(names)} class names; "
            f"give --class-names with one name for each class, in this order"
        )
    for name in names:
        if not name or has_controls(name):
            raise InputError(f"--class-names: '{name}' is no name; give each class one of letters")
        if names.count(name) > 1:
            raise InputError(f"--class-names: '{name}' stands for two classes; give each class its own name")
    return names

"""Turn label words into token ids: one token of the backbone's vocabulary scores each class."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from skn.data.tasks import DEFAULT_LABEL_WORDS, Task
from skn.data.template import Template
from skn.errors import InputError
from skn.names import all_near

log = logging.getLogger(__name__)

MOST_TRIED = 50  # similar words of the vocabulary, until one is a token at its place


def choose_label_words(given: list[str] | None, task: Task | None, classes: list[str]) -> list[str]:
    """Return the user's words, the task's words, or the default words for this number of classes.

    Raises :class:`InputError` if the words do not fit the classes, or have another order than the classes.
    """
    if given is not None:
        words = list(given)
    elif task is not None:
        words = list(task.label_words)
    else:
        words = list(DEFAULT_LABEL_WORDS.get(len(classes), ()))
    if len(words) != len(classes):
        more = f" and {len(classes) - 8} more" if len(classes) > 8 else ""
        raise InputError(
            f"{len(classes)} classes ({', '.join(classes[:8])}{more}) but {len(words)} label words; "
            f"give --verbalizer with one word for each class"
        )
    if given is not None:
        _refuse_exchanged(words, classes)
    return words


def _refuse_exchanged(words: list[str], classes: list[str]) -> None:
    """Refuse a word that is the label of another class: the user took another order for the order of the classes.

    Training would not show it: the prompt learns, though worse, against the meaning of the words.
    """
    labels = [label.strip().casefold() for label in classes]
    for word, label, own in zip(words, classes, labels, strict=True):
        plain = word.strip().casefold()
        if plain != own and plain in labels:
            raise InputError(
                f"--verbalizer: '{word.strip()}' is a class, but would stand for the class '{label}'; "
                f"give the words in the order of the classes ({', '.join(classes[:8])})"
            )


def label_token_ids(tokenizer: Any, words: list[str]) -> list[int]:
    """Return the token id of each word, as the user writes it or, if that is no single token, as it is after a space.

    The original puts the word at the start of a text. In RoBERTa's vocabulary, a word such as " terrible" exists only
    after a space. Raises :class:`InputError` for a word that is not a single token; the message names the nearest word
    that is.
    """
    ids = [_token_id(tokenizer, word) for word in words]
    for word, token in zip(words, ids, strict=True):
        if ids.count(token) > 1:
            raise InputError(f"--verbalizer: '{word}' stands for two classes; give each class its own word")
    return ids


def ids_in_template(tokenizer: Any, words: list[str], template: Template) -> list[int]:
    """Return the token id of each word at the scored place of a template, with the space that the place demands.

    A decoder goes on with a word's first token, so a word may have several tokens; words that share the first token are
    refused. An encoder fills one token. Raises :class:`InputError`.
    """
    before = template.before_answer()
    behind = before.rstrip(" ")
    space = " " if len(behind) < len(before) or (template.causal and not before[-1:].isspace()) else ""
    start = tokenizer.encode(behind, add_special_tokens=False) if behind else []

    def placed(word: str) -> list[int]:
        return tokenizer.encode(behind + space + word.strip(), add_special_tokens=False)[len(start) :]

    def fits(parts: list[int]) -> bool:
        return bool(parts) and parts[0] != tokenizer.unk_token_id and (template.causal or len(parts) == 1)

    ids = []
    for word in words:
        parts = placed(word)
        if not fits(parts):
            near = _nearest(tokenizer, word.strip(), fits=lambda other: fits(placed(other)))
            raise InputError(
                f"--verbalizer: '{word}' is not one token of this backbone at its place in the template"
                + (f"; '{near}' is" if near else "; give another word or another template")
            )
        if parts[0] in ids:
            other = words[ids.index(parts[0])]
            raise InputError(
                f"--verbalizer: '{other}' and '{word}' begin with the same token "
                f"({tokenizer.decode(parts[:1])!r}), so no score tells them apart; give words that begin otherwise"
            )
        ids.append(parts[0])
    return ids


def _token_id(tokenizer: Any, word: str) -> int:
    for form in (word, " " + word.strip()):
        ids = tokenizer.encode(form, add_special_tokens=False)
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return ids[0]
    near = _nearest(tokenizer, word.strip())
    raise InputError(f"--verbalizer: '{word}' is not one token of this backbone" + (f"; '{near}' is" if near else ""))


def _nearest(tokenizer: Any, word: str, fits: Callable[[str], bool] = lambda other: True) -> str | None:
    """Return the most similar whole word of the vocabulary that ``fits``; None if none of the most similar words does."""
    plain = {token.lstrip("Ġ▁") for token in tokenizer.get_vocab() if not token.startswith("##")}
    words = sorted(token for token in plain if token.isalpha() and len(token) > 1)
    return next(filter(fits, all_near(word, words, MOST_TRIED)), None)

"""A template: words around a text. Nothing is tuned; the model fills the mask, or goes on after the last word."""

from __future__ import annotations

import string
from dataclasses import dataclass

from skn.errors import InputError
from skn.names import nearest

TEXT, PAIR, MASK = "text", "pair", "mask"
_PLACES = (TEXT, PAIR, MASK)


@dataclass(frozen=True)
class Template:
    """A checked template: its pieces, each the words before a place and the place ("text", "pair", "mask" or None).

    ``written`` is the template as the user wrote it.
    """

    written: str
    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def read(cls, written: str) -> Template:
        """Read a template such as "{text} It was {mask}."; {{ and }} stand for braces. Raises :class:`InputError`."""
        try:
            parsed = list(string.Formatter().parse(written))
        except ValueError as error:
            raise _refused(written, f"{error}; write {{{{ and }}}} for braces") from error
        for _, place, layout, conversion in parsed:
            if place is not None and (place not in _PLACES or layout or conversion):
                near = nearest(place, _PLACES)
                raise _refused(
                    written,
                    f"{{{place}}} is no place; the places are {{text}}, {{pair}} and {{mask}}"
                    + (f" (did you mean {{{near}}}?)" if near and near != place else ""),
                )
        return cls(written, tuple((words, place) for words, place, _, _ in parsed))

    def check(self, causal: bool, pairs: bool) -> None:
        """Raises :class:`InputError` if the template does not fit the model or the data.

        :param causal: the model goes on after the template's last word; otherwise it fills the one {mask}.
        :param pairs: the data has a second text, {pair}.
        """
        places = [place for _, place in self.pieces if place is not None]
        wanted = {TEXT: 1, PAIR: int(pairs), MASK: int(not causal)}
        for place, count in wanted.items():
            if places.count(place) != count:
                raise _refused(self.written, _WHY[place, count].format(count=places.count(place)))

    @property
    def causal(self) -> bool:
        """Whether the model goes on after the last word, instead of filling a mask."""
        return all(place != MASK for _, place in self.pieces)

    def before_answer(self) -> str:
        """The template's words directly before the scored place, after the last text."""
        words = ""
        for before, place in self.pieces:
            words += before
            if place == MASK:
                break
            words = "" if place in (TEXT, PAIR) else words
        return words

    def fill(self, texts: dict[str, str], mask: str | None) -> tuple[str, list[tuple[int, int, str]]]:
        """Return the whole text, and the span of characters of each place: (start, end, place)."""
        whole, spans = "", []
        for words, place in self.pieces:
            whole += words
            if place is not None:
                inside = mask if place == MASK else texts[place]
                spans.append((len(whole), len(whole) + len(inside), place))
                whole += inside
        return whole, spans


_WHY = {
    (TEXT, 1): "{{text}} stands in it {count} times; the text needs one place",
    (PAIR, 1): "{{pair}} stands in it {count} times; the second text of a pair needs one place",
    (PAIR, 0): "{{pair}} stands in it, but the data has no second text",
    (
        MASK,
        1,
    ): "{{mask}} stands in it {count} times; an encoder fills one mask, as in '{{text}} It was {{mask}}.'",
    (
        MASK,
        0,
    ): "{{mask}} stands in it, but a decoder goes on after the last word; end the template there, without a mask",
}


def _refused(written: str, why: str) -> InputError:
    return InputError(f"--template {written!r}: {why}")

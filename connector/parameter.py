"""What a parameter is, and how its text becomes a value. config.py lists them all."""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

# AWS IoT's limits; $aws/rules/RULE/ of Basic Ingest does not count. It ends a connection that uses a longer topic,
# which on a core is everybody's.
MAX_TOPIC_BYTES = 256
MAX_TOPIC_SLASHES = 7
MAX_SHOWN_CHARS = 160  # of an invalid value in a warning
MAX_SHOWN_ITEMS = 10  # of an invalid list in a warning


class Parameter(NamedTuple):
    """One parameter.

    name: of the environment variable and, after --, of the flag, str
    title: label in forms, str
    default: the value where none is set, str
    valid: which values are valid, in words, str
    pattern: regular expression that the tools match a whole value with; the connector may accept a little more, str
    description: what the parameter does, one or a few sentences, str
    parse: text to value, ValueError if invalid; of a list, one item; None where the pattern decides and text is kept
    is_list: whether the value is items separated by commas, bool
    alias: name that older sample code used, accepted too where `name` is not set, str or None
    """

    name: str
    title: str
    default: str
    valid: str
    pattern: str
    description: str
    parse: Optional[Callable[[str], Any]] = None
    is_list: bool = False
    alias: Optional[str] = None

    def allows(self, text: str) -> bool:
        """Return whether the tools accept this value; the connector accepts every value that they do."""
        return re.fullmatch(self.pattern, text) is not None

    def read(self, text: str, shown_name: str = "") -> Tuple[Any, str]:
        """Return the value and a warning: "" if valid, else what is invalid and what is used instead.

        An invalid item of a list is left out; the default is used where no valid item remains.
        """
        name = shown_name or self.name
        if self.is_list:
            items, invalid = _parse_items(text, self.parse)
            if not invalid:
                return items, ""
            if items:
                shown = ", ".join(map(repr, invalid[:MAX_SHOWN_ITEMS]))[:MAX_SHOWN_CHARS]
                return items, f"{name} has {shown}, not valid and left out ({self.valid}): the other items are used"
        else:
            try:
                return self._parse(text), ""
            except ValueError:
                pass
        return self.read(self.default)[0], (
            f"{name} is {text[:MAX_SHOWN_CHARS]!r}, which is not valid ({self.valid}): {self.default!r} is used instead"
        )

    def _parse(self, text: str) -> Any:
        if self.parse is not None:
            return self.parse(text)
        if text != self.default and not re.fullmatch(self.pattern, text):
            raise ValueError
        return text


def _parse_items(text: str, parse: Optional[Callable[[str], Any]]) -> Tuple[Tuple[Any, ...], List[str]]:
    """Return the values of a list's valid items, each once, and its invalid items."""
    assert parse is not None
    values: Dict[Any, None] = {}
    invalid = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            values[parse(item)] = None
        except ValueError:
            invalid.append(item)
    return tuple(values), invalid


def parse_list_size(text: str) -> int:
    """Return MaxListSize, 1 to 500. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 500:
        raise ValueError
    return int(text)


def parse_interface_pattern(text: str) -> str:
    """Return a shell pattern for interface names. Raises ValueError where some Python can't compile it."""
    if re.search(r"\s", text):  # no interface has one in its name: a list without its commas
        raise ValueError
    if "[" in text:
        try:
            re.compile(fnmatch.translate(text))
        except re.error as error:  # before Python 3.10 translate() accepts [z-a]
            raise ValueError from error
    return text


def parse_topic(text: str) -> str:
    """Return a topic with {thing} and {format} still in it. Raises ValueError by AWS IoT's limits, and for + and #."""
    fixed = fill_in(text, "", "")
    if not text or re.search(r"[+#{}\x00-\x1f\x7f-\x9f]", fixed):
        raise ValueError
    if utf8_bytes(text) > MAX_TOPIC_BYTES or slashes(text) > MAX_TOPIC_SLASHES:
        raise ValueError
    return text


def slashes(topic: str) -> int:
    """Return how many slashes of a topic AWS IoT counts."""
    return re.sub(r"\A\$aws/rules/[^/]*/", "", topic).count("/")


def slashes_pattern(most: int) -> str:
    """Return a lookahead for at most that many."""
    return rf"(?!(?!\$aws/rules/)(?:[^/]*/){{{most + 1}}})(?!\$aws/rules/(?:[^/]*/){{{most + 2}}})"


def utf8_bytes(text: str) -> int:
    """Return the length of a text in UTF-8, bytes."""
    return len(text.encode("utf-8"))


def fill_in(topic: str, thing: str, report_format: str) -> str:
    """Return a topic with {thing} and {format} replaced."""
    return topic.replace("{thing}", thing).replace("{format}", report_format)


def parse_directory(text: str) -> str:
    """Return an absolute path, or "". Raises ValueError."""
    if text and (not text.startswith("/") or "\0" in text):
        raise ValueError
    return text


def list_pattern(item: str) -> str:
    """Return the regular expression of a list, which may be empty, from that of an item."""
    return f"(?: *{item}(?: *, *{item})* *)?"

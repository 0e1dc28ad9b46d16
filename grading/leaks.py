"""Finds answers in what students get: in texts, and in the images inside them."""

import base64
import re
from collections.abc import Iterator

from grading.gaps import Secret

_DATA = re.compile(r";base64,((?:[\w+/]{4})+(?:[\w+/]{2}==|[\w+/]{3}=)?)", re.ASCII)


def find_leaks(text: str, secrets: list[tuple[Secret, str]]) -> Iterator[str]:
    """Yields where secrets, each given with its origin, stand in a text or in its images."""
    images = [base64.b64decode(data[1]) for data in _DATA.finditer(text)]
    if any(b"zTXt" in image or b"iTXt" in image for image in images):
        yield ", image: it holds text that may be compressed, which cannot be checked"
    contents = [("", text), *((", image", data.decode("utf-8", "replace")) for data in images)]
    for part, content in contents:
        content = content.replace("\\", "")
        # Commented-out code is found in the one, code with comments inside in the other.
        views = (content.replace("#", " "), re.sub("#.*", "", content))
        for secret, origin in secrets:
            # Looking for names is fast, and most texts lack them.
            if all(name in content for name in secret.names):
                lines = [line for view in views if (line := _line_of(secret.pattern, view))]
                if lines:
                    yield f"{part}, line {lines[0]}: gives away `{secret.text}`, answer of {origin}"


def _line_of(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def strings_in(value) -> Iterator[str]:
    """Yields every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings_in([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)

"""Gives an object other methods for a while, so that whoever holds it calls these."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def keeping_attributes(thing: Any) -> Iterator[dict[str, Any]]:
    """Yields an object's attributes; in the end they are what they were."""
    attributes = vars(thing)  # changed directly, since frameworks act on `setattr`
    before = dict(attributes)
    try:
        yield attributes
    finally:
        attributes.clear()
        attributes.update(before)


@contextlib.contextmanager
def disguised(thing: Any, **methods: Callable) -> Iterator[None]:
    """Makes an object an instance of a subclass of its own class; in the end it is what it was.

    Args:
        thing: the object.
        methods: what the subclass defines.
    """
    own = type(thing)
    names = {name: getattr(own, name) for name in ("__module__", "__qualname__", "__doc__")}
    subclass = types.new_class(
        own.__name__, (own,), exec_body=lambda body: body.update(names | methods)
    )
    with keeping_attributes(thing) as attributes:
        for name in methods:
            attributes.pop(name, None)  # it would hide the method
        object.__setattr__(thing, "__class__", subclass)
        try:
            yield
        finally:
            object.__setattr__(thing, "__class__", own)

"""A disguised object runs other methods, whoever holds it, and is itself again afterwards."""

import pytest

from checks.disguise import disguised


class Thing:
    def __init__(self):
        self.number = 1

    def __call__(self):
        return "own"

    def ask(self):
        return self()


def test_a_disguise_reaches_whoever_holds_the_object():
    thing = Thing()
    holder, method = [thing], thing.ask
    with disguised(thing, __call__=lambda self: f"other {self.number}"):
        assert (holder[0](), method()) == ("other 1", "other 1")
        assert isinstance(thing, Thing)
        assert Thing()() == "own"
    assert method() == "own"


def test_an_attribute_of_the_object_does_not_hide_the_method():
    thing = Thing()
    thing.ask = lambda: "attribute"
    with disguised(thing, ask=lambda self: "other"):
        assert thing.ask() == "other"
    assert thing.ask() == "attribute"


def test_all_is_put_back_after_an_error():
    thing = Thing()
    with pytest.raises(ZeroDivisionError), disguised(thing, ask=lambda self: 1 / 0):
        thing.number, thing.new = 2, 3
        thing.ask()
    assert type(thing) is Thing
    assert vars(thing) == {"number": 1}

"""Classes of values behave as frozen dataclasses with slots do, and are compiled late."""

from copy import copy, deepcopy
from typing import Any, ClassVar

import pytest

from chat.frozen import as_dict, field, fields_of, frozen, replace


@frozen
class Point:
    """A point."""

    KIND: ClassVar[str] = "point"

    x: int
    y: int = 0
    label: str = field(default="", compare=False)
    secret: bytes = field(default=b"", shown=False)

    @property
    def sum(self) -> int:
        return self.x + self.y


@frozen
class Marked(Point):
    mark: str = "!"


@frozen
class Nothing:
    """Has no fields."""


@frozen
class Nobody:
    """Has none either, and is another thing."""


@frozen
class Named:
    name: str

    def __repr__(self) -> str:
        return "<named>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named)


def test_fields_are_given_by_place_by_name_or_by_default() -> None:
    assert as_dict(Point(1, label="a")) == {"x": 1, "y": 0, "label": "a", "secret": b""}
    assert Point(1, 2).sum == 3
    assert Point.KIND == "point"
    assert Point.__doc__ == "A point."
    assert fields_of(Marked) == (*fields_of(Point), "mark")
    assert as_dict(Marked(1, 2, "a", b"s", "?"))["mark"] == "?"


@pytest.mark.parametrize("given", [{}, {"x": 1, "z": 2}])
def test_fields_that_are_missing_or_unknown_are_refused_with_the_name(given: Any) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Point.__init__\(\)"):
            Point(**given)


def test_values_are_equal_if_class_and_compared_fields_are() -> None:
    assert Point(1, label="a") == Point(1, label="b")
    assert hash(Point(1, label="a")) == hash(Point(1, label="b"))
    assert Point(1) != Point(2)
    assert Point(1) != Marked(1)
    assert Nothing() == Nothing()
    assert len({Nothing(), Nothing(), Nobody(), Point(1), Point(1)}) == 3


def test_repr_has_the_fields_but_no_secrets() -> None:
    assert repr(Point(1, secret=b"xyz")) == "Point(x=1, y=0, label='')"
    assert repr(Nothing()) == "Nothing()"


def test_values_never_change() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="x of Point never changes"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="x of Point never changes"):
        del point.x
    with pytest.raises(AttributeError):
        point.other = 2  # type: ignore[attr-defined]
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1)


def test_values_can_be_copied() -> None:
    point = Point(1, 2, "a", b"secret")
    assert as_dict(deepcopy(point)) == as_dict(copy(point)) == as_dict(point)


def test_match_takes_the_fields_in_order() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_what_a_class_defines_itself_is_kept() -> None:
    assert repr(Named("Ira")) == "<named>"
    assert Named("Ira") == Named("Zoe")
    assert hash(Named("Ira")) == hash(Named("Ira"))


def test_no_constructor_is_compiled_before_an_instance_is_made() -> None:
    @frozen
    class Early:
        x: int

    @frozen
    class Late:
        x: int

    early, late = (vars(one) for one in (Early, Late))
    assert early["__init__"] is late["__init__"]
    Early(1)
    assert early["__init__"] is not late["__init__"]

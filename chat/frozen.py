"""Classes whose instances are values: some fields that never change, equal if the fields are.

They are what `dataclasses.dataclass(frozen=True, slots=True)` makes. But that compiles six
functions for each class, and imports `inspect`: for the ninety classes of a client it took as long
as all other modules together. Here the classes share these functions, except `__init__`, which is
compiled when the first instance is made. Most classes have none before the prompt shows.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import (
    Any,
    ClassVar,
    NamedTuple,
    NoReturn,
    TypeVar,
    cast,
    dataclass_transform,
    get_origin,
)

T = TypeVar("T")

_NO_DEFAULT: Any = object()


class _Field(NamedTuple):
    default: Any = _NO_DEFAULT
    compare: bool = True
    shown: bool = True


def field(*, default: Any = _NO_DEFAULT, compare: bool = True, shown: bool = True) -> Any:
    """Describe a field: its default, if it has one; whether two values are compared by it; whether
    `repr` shows it, which must not show a secret."""
    return _Field(default, compare, shown)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class of values out of a class whose fields are annotated. What it defines itself is
    kept."""
    own = {
        name: _field_of(cls.__dict__.get(name, _NO_DEFAULT))
        for name, kind in cls.__annotations__.items()
        if not _is_of_class(kind)
    }
    fields: dict[str, _Field] = {**getattr(cls, "_fields", {}), **own}
    left_out = {*own, "__dict__", "__weakref__"}
    body = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    if body.get("__hash__", ...) is None:
        # Python's answer to an `__eq__` alone.
        del body["__hash__"]
    shown = tuple(name for name, one in fields.items() if one.shown)
    compared = _getter([name for name, one in fields.items() if one.compare])
    body = {
        **_SHARED,
        **body,
        "__slots__": tuple(own),
        "__match_args__": tuple(fields),
        "_fields": fields,
        "_shown": shown,
        "_compared": compared,
    }
    # Made anew, since slots cannot be added.
    kind: Any = type(cls)
    made = cast(type[T], kind(cls.__name__, cls.__bases__, body))
    made.__qualname__ = cls.__qualname__
    return made


@dataclass_transform(field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """The same, but fields can be set. Set only those that are not compared, or the hash changes.
    An instance is made in a quarter of the time."""
    made: Any = frozen(cls)
    made.__setattr__, made.__delattr__ = object.__setattr__, object.__delattr__
    return cast(type[T], made)


def replace(one: T, **changes: Any) -> T:
    """A value that differs from this one in these fields."""
    kind: Any = type(one)
    return cast(T, kind(**as_dict(one) | changes))


def fields_of(kind: Any) -> tuple[str, ...]:
    """The names of the fields of a class of values."""
    return tuple(kind._fields)


def as_dict(one: Any) -> dict[str, Any]:
    """The fields of a value by their names."""
    return {name: getattr(one, name) for name in one._fields}


def _is_of_class(kind: Any) -> bool:
    return get_origin(kind) is ClassVar


def _field_of(default: Any) -> _Field:
    return default if isinstance(default, _Field) else _Field(default)


def _getter(names: list[str]) -> Callable[[Any], Any]:
    """What gets these attributes of an object, all at once."""
    return attrgetter(*names) if names else type


# -- what the classes share --------------------------------------------------------------------


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    """Stands for the `__init__` of a class until the first instance is made."""
    cls = type(self)
    cls.__init__ = _compiled_init(cls)
    self.__init__(*args, **kwargs)


def _compiled_init(cls: Any) -> Any:
    parameters, lines, names = ["self"], ["pass"], {}
    is_frozen = cls.__setattr__ is not object.__setattr__
    for name, one in cls._fields.items():
        if is_frozen:
            names[f"_set_{name}"] = getattr(cls, name).__set__
        lines.append(f"_set_{name}(self, {name})" if is_frozen else f"self.{name} = {name}")
        if one.default is _NO_DEFAULT:
            parameters.append(name)
        else:
            names[f"_default_{name}"] = one.default
            parameters.append(f"{name}=_default_{name}")
    exec(f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines), names)
    names["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return names["__init__"]


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) == self._compared(other)


def _hash(self: Any) -> int:
    return hash(self._compared(self))


def _repr(self: Any) -> str:
    fields = (f"{name}={getattr(self, name)!r}" for name in self._shown)
    return f"{self.__class__.__qualname__}({', '.join(fields)})"


def _reduce(self: Any) -> tuple[Any, tuple[Any, ...]]:
    return self.__class__, tuple(as_dict(self).values())


def _refuse(self: Any, name: str, *value: Any) -> NoReturn:
    raise AttributeError(f"{name} of {self.__class__.__qualname__} never changes")


_SHARED: dict[str, Any] = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__reduce__": _reduce,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
}

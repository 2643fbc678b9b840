"""Where in a file something is wrong, as the author wrote it, and which faults can be mended one by one.

Pydantic names branches of unions, which no author wrote, and reports what only follows from another fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dp_spark.schema.forms import closest, is_model, keys_of, members_of, peel, tag_key, tags_of

#: What pydantic says where a value has the right form and breaks a bound: a sentence, the bound's name, and a mend.
BOUNDS = {
    "greater_than": ("must be greater than {}", "gt", "write a number above {}"),
    "greater_than_equal": ("must be {} or greater", "ge", "write {} or a greater number"),
    "less_than": ("must be less than {}", "lt", "write a number below {}"),
    "less_than_equal": ("must be {} or less", "le", "write {} or a smaller number"),
    "too_short": (
        "has too few elements: at least {}",
        "min_length",
        "list at least {}, or remove the key where it may be absent",
    ),
    "too_long": ("has too many elements: at most {:,} are possible", "max_length", "list at most {}"),
    "string_too_short": ("is empty: it must have at least {} character", "min_length", "write a text"),
    "string_too_long": ("must have at most {} characters", "max_length", "shorten it to {} characters"),
}
#: Of a value that pydantic took for this branch of a union: its form is right.
_RIGHT_FORM = {"value_error", "string_pattern_mismatch", *BOUNDS}
#: How alike two words must be for one to be a slip of the other.
NEAR = 0.7


@dataclass(frozen=True)
class Place:
    """Where in a file something is wrong.

    Attributes:
        path: The keys that lead there, as an author wrote them.
        expected: The annotation of what may be there; None where nothing may.
        owner: The model that the last key belongs to.
        union: The keys that lead to a union on the way, pydantic's name of its branch, and whether the fault is below it.
        choices: The annotation of that union.
        is_key: Whether the fault is in the last key itself, not in what it leads to.
    """

    path: tuple[str, ...] = ()
    expected: Any = None
    owner: type[BaseModel] | None = None
    union: tuple[tuple[str, ...], str, bool] | None = None
    choices: Any = None
    is_key: bool = False

    @property
    def where(self) -> str:
        """The keys that lead there, joined by dots."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Fault:
    """A fault and its place; ``found`` is pydantic's own account of it."""

    place: Place
    found: Any


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The faults that an author can mend one by one, without those that only follow from another."""
    items = [Fault(place_of(model, found["loc"]), found) for found in error.errors(include_url=False)]
    told = [item for item in _of_meant_branches(items) if not _follows(item, items)]
    misspelt = {
        (*item.place.path[:-1], closest(item.place.path[-1], keys_of(item.place.owner), cutoff=NEAR))
        for item in told
        if item.found["type"] == "extra_forbidden" and item.place.owner is not None
    }
    return [item for item in told if item.found["type"] != "missing" or item.place.path not in misspelt]


def _follows(item: Fault, items: Sequence[Fault]) -> bool:
    """Whether a list is too short because an element of it is wrong."""
    path = item.place.path
    below = (other.place.path for other in items if len(other.place.path) > len(path))
    return item.found["type"] == "too_short" and any(other[: len(path)] == path for other in below)


def _of_meant_branches(items: Sequence[Fault]) -> Iterator[Fault]:
    """The faults without those of branches of a union that the author did not mean."""
    meant: dict[tuple[str, ...], str | None] = {}
    for item in items:
        if item.place.union is None:
            yield item
            continue
        union, branch, below = item.place.union
        if union not in meant:
            meant[union] = _meant(items, union)
            if meant[union] is None:  # of another form than every branch: told once, for the whole union
                yield Fault(Place(union, item.place.choices), {**item.found, "type": "union"})
        if branch == meant[union] and (below or item.found["type"] in _RIGHT_FORM):
            yield item


def _meant(items: Sequence[Fault], union: tuple[str, ...]) -> str | None:
    """The branch whose form the value has: pydantic went into it, or judged what is in it."""
    for item in items:
        if item.place.union is not None and item.place.union[0] == union:
            _, branch, below = item.place.union
            if below or item.found["type"] in _RIGHT_FORM:
                return branch
    return None


def place_of(model: type[BaseModel], location: Sequence[int | str]) -> Place:
    """Follows pydantic's location through the model's annotations; it names branches of unions, which no author wrote."""
    path: list[str] = []
    expected: Any = model
    owner: type[BaseModel] | None = None
    union: tuple[tuple[str, ...], str, bool] | None = None
    choices: Any = None
    parts = list(location)
    while parts:
        bare, _ = peel(expected)
        members = members_of(bare)
        if len(members) == 1 and members[0] is not bare:
            expected = members[0]
            continue
        part = parts.pop(0)
        if len(members) > 1:
            if union is None and tag_key(expected) is None:
                union, choices = (tuple(path), str(part), bool(parts)), expected
            expected = _branch(members, str(part), parts)
            continue
        path.append(str(part))
        if is_model(bare):
            owner, expected = bare, field_of(bare, str(part))
        elif get_origin(bare) is dict:
            if parts == ["[key]"]:
                return Place(tuple(path), get_args(bare)[0], owner, union, choices, is_key=True)
            expected = get_args(bare)[1]
        else:
            expected = get_args(bare)[0] if get_args(bare) else None
    return Place(tuple(path), expected, owner, union, choices)


def field_of(model: type[BaseModel], key: str) -> Any:
    """The annotation of the field that a key of the file fills, with all its notes; None where none does."""
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return Annotated[field.annotation, field, *field.metadata]
    return None


def _branch(members: Sequence[Any], label: str, rest: Sequence[int | str]) -> Any:
    """The member of a union that pydantic means by a name of its own making."""
    begins: dict[Any, str] = {tuple: "tuple[", list: "list[", dict: "dict["}

    def named(member: Any) -> bool:
        bare, _ = peel(member)
        if is_model(bare):
            return bare.__name__ in label or label in tags_of(bare)
        return label.startswith(begins.get(get_origin(bare), "\0"))

    def reaches(member: Any) -> bool:
        bare, _ = peel(member)
        return bool(rest) and (get_origin(bare) is tuple) == isinstance(rest[0], int) and get_origin(bare) is not None

    return next(filter(named, members), next(filter(reaches, members), next((m for m in members if m is str), members[0])))

"""From the text of a release file to plain data: scalars of YAML 1.2.

PyYAML speaks YAML 1.1, where ``NO`` is false, ``12:30`` is 750 and ``1e-6`` is a string. A release file means what
it looks like, so scalars are resolved by the YAML 1.2 core schema, and a number with a fraction or an exponent stays
the exact decimal that was written: budgets are never rounded to a double on the way in.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from dp_spark.errors import SpecError
from dp_spark.places.paths import at_home

#: More than any release file that people or programs write; a longer list of keys belongs into a table.
MAX_BYTES = 4 * 2**20
_MAX_DEPTH = 40
_MAX_DIGITS = 1000


class _NotAllowedError(yaml.constructor.ConstructorError):
    """YAML that is well-formed and refused, with the mend."""

    def __init__(self, problem: str, mark: Any, mend: str) -> None:
        super().__init__(None, None, problem, mark)
        self.mend = mend


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, without duplicate keys, and without what makes a short text a huge document."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, unless it repeats another one or is nested too deeply."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            mend = "write the value out wherever it is needed"
            raise _NotAllowedError("anchors and aliases (& and *) are not allowed", event.start_mark, mend)
        if self.depth > _MAX_DEPTH:
            mend = "write fewer brackets or levels inside each other"
            raise _NotAllowedError(f"is nested more than {_MAX_DEPTH} levels deep", event.start_mark, mend)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_resolve(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+0123456789.",
)


def _check_digits(node: yaml.ScalarNode, digits: int) -> None:
    if digits > _MAX_DIGITS:
        raise _NotAllowedError(f"a number has more than {_MAX_DIGITS} digits", node.start_mark, "write a shorter number")


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    _check_digits(node, len(text))
    try:
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    except ValueError:
        raise _unreadable(node) from None


def _construct_number(_: _Loader, node: yaml.ScalarNode) -> Decimal | float:
    text = str(node.value).lower()
    _check_digits(node, len(text))
    if "nan" in text:
        return math.nan
    if "inf" in text:
        return -math.inf if text.startswith("-") else math.inf
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _unreadable(node) from None
    _check_digits(node, abs(number.adjusted()) + len(number.as_tuple().digits))  # as it is written without an exponent
    return number


def _construct_bool(_: _Loader, node: yaml.ScalarNode) -> bool:
    if str(node.value).lower() not in ("true", "false"):
        raise _unreadable(node)
    return str(node.value).lower() == "true"


def _construct_text(_: _Loader, node: yaml.ScalarNode) -> str:
    """A text; JSON writes a letter beyond U+FFFF as two halves, and a half alone has no bytes."""
    try:
        return str(node.value).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise yaml.constructor.ConstructorError(
            None, None, "a text holds half of a surrogate pair, which is no character", node.start_mark
        ) from None


def _unreadable(node: yaml.ScalarNode) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, "a value does not fit its tag", node.start_mark)


def _refuse_tag(_: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(None, None, "a tag is not allowed here", node.start_mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | bool | Decimal):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
        seen.add(key)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_number)
_Loader.add_constructor("tag:yaml.org,2002:bool", _construct_bool)
_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _name in ("timestamp", "binary", "set", "omap", "pairs"):  # types that YAML 1.2's core schema does not have
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _refuse_tag)


def parse_yaml(text: str, *, where: str = "release file") -> Any:
    """Parses YAML text with the scalars of the YAML 1.2 core schema.

    Args:
        text: The YAML document.
        where: What to call the document in an error.

    Raises:
        SpecError: If the text is not YAML, a key is there twice in one mapping, or it has anchors, aliases, numbers of more
            than 1,000 digits or more than 40 levels.

    >>> parse_yaml("{a: NO, b: 12:30, c: 1e-6, d: 0.10, e: 7, f: }")
    {'a': 'NO', 'b': '12:30', 'c': Decimal('0.000001'), 'd': Decimal('0.10'), 'e': 7, 'f': None}
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader: it builds plain data only
    except RecursionError:
        raise SpecError("not valid YAML: it is nested too deeply", where=where, mend="write fewer levels") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "cannot be read as YAML"
        mend = getattr(error, "mend", "check the indentation and the quotes there")
        raise SpecError(f"not valid YAML: {problem}", where=f"{where}{line}", mend=mend) from None


def read_release_file(path: str | Path) -> dict[str, Any]:
    """Reads a release file into plain data, without judging it.

    Raises:
        SpecError: If the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        with Path(at_home(str(path))).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "cannot be read")
        raise SpecError(f"release file: {reason}", where=str(path), mend="give the path of a release file") from None
    if len(content) > MAX_BYTES:
        raise SpecError(
            f"release file: is larger than {MAX_BYTES // 2**20} MiB",
            where=str(path),
            mend="put long lists of public keys into a table: partitions: {public: {source: ...}}",
        )
    data = parse_yaml(text, where=str(path))
    if not isinstance(data, dict):
        raise SpecError("a release file is a mapping of keys to values", where=str(path), mend="start from an example in conf/")
    return data

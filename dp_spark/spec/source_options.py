"""Which reader options a source may have: those that say how a file is written, and none that read, repeat or reject by value.

Whatever is not listed is refused. An option can undo a guarantee in ways that its name does not tell: ``hint`` of JDBC is
SQL text, ``readChangeFeed`` of Delta repeats rows, ``maxCharsPerColumn`` of CSV lets one long value fail a run.
"""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterator, Mapping

from dp_spark.places.jdbc_addresses import leads_elsewhere

_FILES = "pathGlobFilter recursiveFileLookup"
_TEXT = f"{_FILES} mode encoding charset lineSep locale dateFormat timestampFormat timestampNTZFormat multiLine"
_ALLOWED = {
    "delta": "versionAsOf timestampAsOf",
    "parquet": f"{_FILES} mergeSchema",
    "orc": f"{_FILES} mergeSchema",
    "csv": f"{_TEXT} header enforceSchema sep delimiter quote escape charToEscapeQuoteEscaping comment nullValue emptyValue "
    "nanValue positiveInf negativeInf ignoreLeadingWhiteSpace ignoreTrailingWhiteSpace",
    "json": f"{_TEXT} timeZone allowComments allowUnquotedFieldNames allowSingleQuotes allowNumericLeadingZeros "
    "allowBackslashEscapingAnyCharacter allowUnquotedControlChars allowNonNumericNumbers",
    "jdbc": "url dbtable user password driver partitionColumn lowerBound upperBound numPartitions fetchsize queryTimeout "
    "pushDownPredicate customSchema keytab principal refreshKrb5Config connectionProvider",
}
#: Files of earlier versions may hold these; no new charge does (``reading_problems``).
_REFUSED_NOW = ("multiLine", "customSchema")
_WHY = {
    "inferschema": "inferring a schema reads private values before they are paid for",
    "samplingratio": "inferring a schema reads private values before they are paid for",
    "query": "a query can break the stability of a user's rows; name a plain table",
    "preparequery": "a query can break the stability of a user's rows; name a plain table",
    "hint": "it is SQL text; name a plain table",
    "badrecordspath": "it writes source rows to disk",
    "readchangefeed": "it repeats rows",
    "path": "the path has its own key",
}
_MODES = ("PERMISSIVE", "DROPMALFORMED")


def option_problems(format_name: str, options: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the options of a source.

    Args:
        format_name: The source's format.
        options: Its options, as written.

    >>> list(option_problems("csv", {"sep": ";", "inferSchema": "true"}))
    ['the option inferSchema is refused: inferring a schema reads private values before they are paid for']
    """
    allowed = {name.lower(): name for name in _ALLOWED[format_name].split()}
    known = [name for name in allowed.values() if name not in _REFUSED_NOW]
    for key, value in options.items():
        if key.lower() == "mode" and value.upper() not in _MODES:
            yield f"the mode must be one of {', '.join(_MODES)}: with FAILFAST one value decides whether a run fails"
        if key.lower() not in allowed:
            near = difflib.get_close_matches(key.lower(), list(allowed), n=1, cutoff=0.75)
            mend = f"; did you mean {allowed[near[0]]}?" if near else ""
            why = _WHY.get(key.lower(), f"a {format_name} source may have {', '.join(known)}{mend}")
            yield f"the option {key} is refused: {why}"
    lowered = [key.lower() for key in options]
    if len(set(lowered)) != len(lowered):
        yield "an option is given twice (upper and lower case are the same)"


_FLAGS = frozenset(
    (
        "header", "enforceschema", "ignoreleadingwhitespace", "ignoretrailingwhitespace", "recursivefilelookup", "mergeschema",
        "allowcomments", "allowunquotedfieldnames", "allowsinglequotes", "allownumericleadingzeros",
        "allowbackslashescapinganycharacter", "allowunquotedcontrolchars", "allownonnumericnumbers", "multiline",
    )
)  # fmt: skip
_SIGNS = ("quote", "escape", "comment", "chartoescapequoteescaping")
#: What Spark 4 can read and what its line splitter, which looks for single bytes, does not break.
_ENCODINGS = ("UTF-8", "US-ASCII", "ISO-8859-1")
_ENCODING_NAMES = frozenset(("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1"))


def reading_problems(format_name: str, options: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What makes the options of a source unfit for a new charge; a release that is drawn is completed all the same.

    A record must be read by itself: an option under which one record can swallow, drop or shift another is refused, and so
    is a value that Spark would refuse only after the charge.

    Args:
        format_name: The source's format.
        options: Its options, after ``${NAME}``.

    Yields:
        The option, what is wrong with it, and the mend.

    >>> [problem[0] for problem in reading_problems("csv", {"multiLine": "true", "encoding": "UTF-16", "quote": "ab"})]
    ['multiLine', 'encoding', 'quote']
    """
    for key, value in options.items():
        name = key.lower()
        if name in _FLAGS and value.lower() not in ("true", "false"):
            yield key, "must be true or false", "write true or false"
        elif name == "multiline" and value.lower() == "true":
            why = "is refused: one record could change how all records behind it are read"
            yield key, why, "write each record on one line, or write Parquet for fields that hold line breaks"
        elif name in ("encoding", "charset") and value.lower() not in _ENCODING_NAMES:
            why = f"must be one of {', '.join(_ENCODINGS)}: Spark finds the ends of lines in no other encoding safely"
            yield key, why, "convert the file to UTF-8 (in a shell: iconv -f OLD -t UTF-8), or write Parquet"
        elif name == "customschema":
            yield key, "is refused: one value that does not fit would fail the run", "leave it out, and cast under preprocess"
        elif format_name == "jdbc" and name == "url" and leads_elsewhere(value):
            why = "may not hold PGHOST, PGPORT, PGDBNAME or service: they can name another database than its address does"
            yield key, why, "name host, port and database in the address: jdbc:postgresql://host:port/database"
        elif format_name == "csv":
            yield from _csv_problems(key, value)
        elif name == "timezone" and value not in zoneinfo.available_timezones():
            yield key, "is not a time zone of the IANA database", "write one such as UTC or Europe/Berlin"
        elif name == "linesep" and not value:
            yield key, "must not be empty", "leave it out: a line ends with a line break then"


def _csv_problems(key: str, value: str) -> Iterator[tuple[str, str, str]]:
    name = key.lower()
    if name in _SIGNS and len(value) > 1:
        yield key, "must be one character", "write one character, or leave it out"
    elif name == "linesep" and len(value) != 1:
        yield key, "must be one character", "leave it out: a line ends with a line break then"
    elif name in ("sep", "delimiter") and not value:
        yield key, "must not be empty", "write the sign between two fields, such as a comma"

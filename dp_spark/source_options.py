"""Which reader options a source may have: those that say how a file is written, and none that read, repeat or reject by value.

Whatever is not listed is refused. An option can undo a guarantee in ways that its name does not tell: ``hint`` of JDBC is
SQL text, ``readChangeFeed`` of Delta repeats rows, ``maxCharsPerColumn`` of CSV lets one long value fail a run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

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
    for key, value in options.items():
        if key.lower() == "mode" and value.upper() not in _MODES:
            yield f"the mode must be one of {', '.join(_MODES)}: with FAILFAST one value decides whether a run fails"
        if key.lower() not in allowed:
            near = difflib.get_close_matches(key.lower(), list(allowed), n=1, cutoff=0.75)
            mend = f"; did you mean {allowed[near[0]]}?" if near else ""
            why = _WHY.get(key.lower(), f"a {format_name} source may have {', '.join(allowed.values())}{mend}")
            yield f"the option {key} is refused: {why}"
    lowered = [key.lower() for key in options]
    if len(set(lowered)) != len(lowered):
        yield "an option is given twice (upper and lower case are the same)"

"""Recipients' profile files (``.share``): where the sharing server is, and the token that opens it until it expires."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from dp_spark.errors import SpecError
from dp_spark.share.private_files import write_private
from dp_spark.share.server_config import ServerConfig

#: A token lives this long at most: a profile file that is found in an old mail should be of no use.
MAX_DAYS = 90


def check_endpoint(url: str) -> str:
    """The address at which recipients reach the server.

    Raises:
        SpecError: If it is no https address; http would show the token on the way, so it is for this machine only.

    >>> check_endpoint("https://sharing.example.org/delta-sharing/")
    'https://sharing.example.org/delta-sharing'
    """
    mend = "write https://HOST/delta-sharing"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SpecError("is not an address", where="--endpoint", mend=mend) from None
    if not host or parts.username is not None or parts.query or parts.fragment or re.search(r"\s", url):
        raise SpecError("is not the address of a server", where="--endpoint", mend=mend)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")):
        raise SpecError("must begin with https: anybody on the way could read the token", where="--endpoint", mend=mend)
    return url.rstrip("/")


def issue_profiles(config: ServerConfig, profiles: Sequence[Path], *, endpoint: str, days: int, overwrite: bool) -> str:
    """Gives the server a new token, and each recipient a profile with it.

    Args:
        config: The server's configuration, held by the caller (``share_config.editing``).
        profiles: The files to write, one for each recipient.
        endpoint: The server's address.
        days: How many days the token lives.
        overwrite: Whether profiles that are there are replaced.

    Returns:
        When the token expires, in ISO 8601.

    Raises:
        SpecError: If an argument is wrong, or a profile is there already or cannot be written; the configuration is unchanged.

    Guarantees: the token is in these files and nowhere else; each has mode 0600 from its first byte on.
    """
    endpoint = check_endpoint(endpoint)
    if not 1 <= days <= MAX_DAYS:
        raise SpecError("is out of range", where="--days", mend=f"give 1 to {MAX_DAYS} days, and rotate the token by then")
    if not profiles or len({path.resolve() for path in profiles}) < len(profiles):
        raise SpecError("each recipient needs a file of its own", where="PROFILE", mend="name one file for each recipient")
    for path in profiles:
        if path.suffix != ".share":
            raise SpecError("is not the name of a profile file", where=str(path), mend="let it end in .share")
    expires = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.0Z")
    token = config.new_token(expires)
    document = {"shareCredentialsVersion": 1, "endpoint": endpoint, "bearerToken": token, "expirationTime": expires}
    write_private(dict.fromkeys(profiles, json.dumps(document, indent=2) + "\n"), replace=overwrite)
    return expires

"""Addresses of things in remote stores, `SCHEME://...`, and the credentials that none may hold."""

import re

# Not C:/, a drive; and no longer than any, so that a long text without one is soon looked through.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,31})://")
# Where what stands before "@" names a container or a user: abfs://CONTAINER@ACCOUNT/...
NAMED = ("abfs", "abfss", "sftp", "ssh")
ADDRESS = re.compile(rf"{SCHEME.pattern}([^\s'\"]*)")
HIDDEN = "***"
HOW = (
    "give credentials as the store's own client takes them: environment variables, a file such as "
    "~/.aws/credentials, a machine's role, or FSSPEC_* variables"
)


def is_remote(path: str) -> bool:
    """Whether it begins with a scheme."""
    return bool(SCHEME.match(path))


def scheme(path: str) -> str:
    """In lower case; "" for a path on this machine."""
    found = SCHEME.match(path)
    return found[1].lower() if found else ""


def has_credentials(text: str) -> bool:
    """Whether an address in a text holds a password, a token or a signed query."""
    return any(
        _names_somebody(*found.groups()) or _query(found[2]) for found in ADDRESS.finditer(text)
    )


def redacted(text: str) -> str:
    """A text without the credentials in its addresses."""

    def shown(found: re.Match[str]) -> str:
        kind, rest = found.groups()
        if _names_somebody(kind, rest):
            rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
        if query := _query(rest):
            rest = f"{rest.removesuffix(query)}{HIDDEN}"
        return f"{kind}://{rest}"

    return ADDRESS.sub(shown, text)


def _names_somebody(kind: str, rest: str) -> bool:
    """USER:PASSWORD@, where a password may have a slash; or TOKEN@."""
    before = rest.rpartition("@")[0]
    alone = before and "/" not in before and kind.lower() not in NAMED
    return ":" in before or bool(alone and before != HIDDEN)


def _query(rest: str) -> str:
    """Of ?NAME=VALUE what follows the "?"; a "?" alone stands for a letter in a glob."""
    query = rest.partition("?")[2]
    return query if "=" in query else ""

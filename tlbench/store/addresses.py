"""How the addresses of stores are shown: without user and password, wherever these stand in them."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote

SQLITE = "sqlite:///"
_SERVERS = ("http", "https")
_USER = re.compile(r"\A(?P<name>[^:/?]*)(?::(?P<password>.*))?@", re.DOTALL)  # a password may hold any sign ...
_USER_OF_SERVER = re.compile(r"\A(?P<name>[^:/?#]*)(?::(?P<password>[^/?#]*))?@")  # ... but not in a web address
_SECRETS = ("password", "sslpassword")
_PERSONAL = ("user", *_SECRETS)


def without_credentials(uri: str) -> str:
    """Return an address without the user and the password it may carry, fit to be kept and shown."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return uri
    place, asked, query = _user(scheme).sub("", rest).partition("?")
    kept = "&".join(each for each in query.split("&") if each.partition("=")[0] not in _PERSONAL)
    return f"{scheme}{mark}{place}{asked if kept else ''}{kept}"


def sqlite_file(uri: str) -> str:
    """Return the path that an SQLite address names: its quoted signs read, what follows a ``?`` left out."""
    return unquote(uri.removeprefix(SQLITE).partition("?")[0])


def sqlite_address(path: str) -> str:
    """Return the address of an SQLite file, with the signs quoted that would mean something else in an address."""
    return SQLITE + path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def for_pages(uri: str) -> str:
    """Return an address as a page tells it, which travels: of a file no more than its folder's name and its own."""
    if not uri.startswith(SQLITE):
        return without_credentials(uri)
    return "/".join(sqlite_file(uri).split("/")[-2:])


def redacted(text: str, uri: str) -> str:
    """Return a text without the secrets of an address that it may repeat, such as a library's message."""
    text = text.replace(uri, without_credentials(uri))
    secrets = {password(uri), *(value for name, value in parse_qsl(uri.partition("?")[2]) if name in _SECRETS)}
    forms = {form for each in secrets for form in (each, unquote(each), quote(unquote(each), safe=""))} - {""}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def password(uri: str) -> str:
    """Return the password before an address's host as it is written there, empty where there is none."""
    scheme, _, rest = uri.partition("://")
    found = _user(scheme).match(rest)
    return (found and found["password"]) or ""


def _user(scheme: str) -> re.Pattern[str]:
    return _USER_OF_SERVER if scheme in _SERVERS else _USER

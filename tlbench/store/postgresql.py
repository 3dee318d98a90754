"""Opens connections to a PostgreSQL database that MLflow keeps results in."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tlbench.core.errors import UserError
from tlbench.store.addresses import password, without_credentials

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

_DRIVERS = {"postgresql": "psycopg", "postgresql+psycopg": "psycopg", "postgresql+psycopg2": "psycopg2"}
_INSTALL = {"psycopg": "tlbench[postgres]", "psycopg2": "psycopg2-binary"}
_FORM = "write postgresql://USER:PASSWORD@HOST:PORT/NAME, a sign such as @ in the password as %40"
_WAIT_S = 30


def is_postgresql(uri: str) -> bool:
    """Say whether an address means a PostgreSQL database, rightly written or not."""
    return uri.partition(":")[0].partition("+")[0] in ("postgresql", "postgres")


def address(uri: str) -> URL:
    """Return an address as SQLAlchemy takes it. What it leaves out comes from ``PGUSER``, ``PGPASSWORD`` and the like.

    Args:
        uri: ``postgresql://USER:PASSWORD@HOST:PORT/NAME``, or with a driver as ``postgresql+psycopg://``.

    Raises:
        UserError: The driver is missing, or the address is no such one.
    """
    scheme = uri.partition("://")[0]
    if scheme not in _DRIVERS or "@" in password(uri):
        raise UserError(f"{without_credentials(uri)}: no address of a database", _FORM)
    if find_spec(_DRIVERS[scheme]) is None:
        raise UserError(
            f"{without_credentials(uri)} needs the package {_DRIVERS[scheme]}",
            f"pip install '{_INSTALL[_DRIVERS[scheme]]}'",
        )
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        raise UserError(f"{without_credentials(uri)}: no address of a database", _FORM) from None  # it tells the secret
    return url if "connect_timeout" in url.query else url.update_query_dict({"connect_timeout": str(_WAIT_S)})


def engine(uri: str) -> Engine:
    """Return what opens a connection of its own whenever one is asked for.

    Raises:
        UserError: See :func:`address`.
    """
    from sqlalchemy import NullPool, create_engine

    return create_engine(address(uri), poolclass=NullPool)

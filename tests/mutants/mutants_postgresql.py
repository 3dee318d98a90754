"""Defects of stores in databases: addresses that tell secrets, snapshots that move, records read in a poor order."""

from __future__ import annotations

from mutant import Mutant

ADDRESSES = "tests/store/test_addresses.py"
READING = "tests/report/test_postgresql.py"
WRITING = "tests/store/test_mlflow_on_postgresql.py"
DATA = "tests/report/test_results.py"

MUTANTS = [
    Mutant(
        "store: a password ends at the first sign",
        "tlbench.store.addresses:_USER",
        'r"\\A(?P<name>[^:/?]*)(?::(?P<password>.*))?@"',
        'r"\\A(?P<name>[^:/?]*)(?::(?P<password>[^@/?#]*))?@"',
        f"{ADDRESSES}::test_an_address_is_shown_without_user_and_password",
    ),
    Mutant(
        "store: a password in the query is shown",
        "tlbench.store.addresses:without_credentials",
        "not in _PERSONAL",
        "not in ()",
        f"{ADDRESSES}::test_an_address_is_shown_without_user_and_password",
    ),
    Mutant(
        "store: a decoded password is shown",
        "tlbench.store.addresses:redacted",
        '(each, unquote(each), quote(unquote(each), safe=""))',
        '(each, quote(unquote(each), safe=""))',
        f"{ADDRESSES}::test_a_message_is_shown_without_the_password_in_any_form",
    ),
    Mutant(
        "store: nothing is asked before MLflow is",
        "tlbench.store.mlflow.connection:opening_lock",
        'connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))',
        "",
        f"{WRITING}::test_one_at_a_time_opens_a_database",
    ),
    Mutant(
        "report: a snapshot sees what is written meanwhile",
        "tlbench.store.mlflow.read_postgresql:open_postgresql",
        'isolation_level="REPEATABLE READ"',
        'isolation_level="READ COMMITTED"',
        f"{READING}::test_what_is_read_is_of_one_moment_and_nothing_can_be_written",
    ),
    Mutant(
        "report: a snapshot may be written to",
        "tlbench.store.mlflow.read_postgresql:open_postgresql",
        "postgresql_readonly=True",
        "postgresql_readonly=False",
        f"{READING}::test_what_is_read_is_of_one_moment_and_nothing_can_be_written",
    ),
    Mutant(
        "report: a database's message is shown as it is",
        "tlbench.store.mlflow.read_postgresql:_user_error",
        'redacted(" ".join(str(error.orig).split()), uri)',
        '" ".join([uri, str(error.orig)])',
        f"{READING}::test_what_cannot_be_read_is_a_sentence",
    ),
    Mutant(
        "report: records are read as they come",
        "tlbench.store.mlflow.stored_experiment:add_details",
        "if len(cells) > most:",
        "if False:",
        f"{DATA}::test_records_left_unread_are_counted_and_those_first_read_are_what_is_shown_first",
    ),
    Mutant(
        "report: a failure is a score of nought",
        "tlbench.store.mlflow.stored_experiment:_in_order",
        "math.nan",
        "0.0",
        f"{DATA}::test_records_left_unread_are_counted_and_those_first_read_are_what_is_shown_first",
    ),
    Mutant(
        "report: records left unread go unsaid in several suites",
        "tlbench.report.results:join",
        "sum(each.unread for each in several)",
        "0",
        f"{DATA}::test_records_left_unread_are_counted_and_those_first_read_are_what_is_shown_first",
    ),
]

"""Which test shows each row of the bad-input catalogue (RELIABILITY section 5).

Brackets: the row is a case of that test, whose name begins with the row's number.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAST_ROW = 110

NOT_YET: dict[int, str] = {}

SHOWN_BY = """
1-9 server/test_bad_input.py::test_amounts_that_are_none[]
10-11 server/test_bad_input.py::test_invalid_fields[]
12-16 server/test_bad_input.py::test_members_that_are_not_json[]
17-21 server/test_bad_input.py::test_bodies[]
22-24 server/test_bad_input.py::test_members_that_are_not_json[]
25 server/test_bad_input.py::test_bodies[]
26-27 server/test_bad_input.py::test_invalid_fields[]
28 server/test_bad_input.py::test_bodies[]
29 server/test_bad_input.py::test_a_chunked_body_without_length
30 server/test_bad_input.py::test_two_lengths_are_refused
30 server/test_bad_input.py::test_a_body_longer_than_it_says
30 server/test_bad_input.py::test_a_length_that_lies
31-32 server/test_bad_input.py::test_bodies[]
33 server/test_bad_input.py::test_a_body_that_never_comes
34 server/test_bad_input.py::test_invalid_fields[]
35 server/test_bad_input.py::test_hostile_keys_in_metadata_are_inert
36-42 server/test_bad_input.py::test_invalid_fields[]
39-42 server/test_idempotency.py::test_keys_that_are_none
43 server/test_idempotency.py::test_without_a_key_the_server_makes_one
44 server/test_idempotency.py::test_header_and_body_name_different_keys
45 server/test_idempotency.py::test_a_replay_is_byte_equal
46-47 server/test_idempotency.py::test_the_same_key_for_something_else[]
48 server/test_idempotency.py::test_the_same_key_at_another_address
# What is still running is waited for and then replayed, which needs no second request.
49 server/test_idempotency.py::test_many_at_once_are_one
49 ledger/test_races.py::test_a_deduct_waits_for_a_charge_and_replays_it
50 server/test_idempotency.py::test_the_key_of_another_organisation
# The catalogue of services is open: a name of one's own is kept as it is.
51 server/test_bad_input.py::test_sql_is_stored_inert
52 server/test_endpoints.py::test_allocate_more_than_the_pool_has
53 server/test_endpoints.py::test_deduct_more_than_there_is
54 server/test_endpoints.py::test_deduct_without_an_allocation
55 server/test_endpoints.py::test_capture_beyond_the_hold
56 server/test_endpoints.py::test_void
57-58 server/test_endpoints.py::test_capture
59 server/test_expiry.py::test_capture_after_expiry
60 server/test_access.py::test_a_foreign_organisation_looks_like_an_unknown_one
61 server/test_access.py::test_a_foreign_hold_looks_like_a_random_id
62 server/test_bad_input.py::test_a_random_id_is_no_hold
62 server/test_access.py::test_a_foreign_charge_looks_like_a_random_id
63-65 server/test_access.py::test_in_the_own_organisation
66 server/test_bad_input.py::test_nothing_is_said_about_a_body_before_it_is_known_who_asks
67 server/test_credentials.py::test_unknown_credentials
68 server/test_credentials.py::test_a_revoked_session
68 server/test_credentials.py::test_revoked_and_expired_keys
69-77 peers/test_access_tokens.py::test_forged_tokens[]
78 server/test_browsers.py::test_another_site_causes_no_request
79 server/test_bad_input.py::test_bodies[]
80 server/test_bad_input.py::test_reading_an_address_that_writes
81 server/test_browsers.py::test_other_origins_are_told_nothing
82-86 server/payments/test_webhook.py::test_forged_events_are_refused[]
87 server/payments/test_webhook.py::test_row_87_a_duplicate_gives_nothing_more
87 server/payments/test_webhook.py::test_row_87_the_same_payment_in_another_event_gives_nothing_more
87 server/payments/test_webhook.py::test_row_87_duplicates_at_the_same_time_give_once
88 server/payments/test_webhook.py::test_row_88_another_currency_is_refused_and_kept
88 server/payments/test_webhook.py::test_row_88_less_than_the_price_is_refused
89 server/payments/test_webhook.py::test_row_89_an_unpaid_session_gives_nothing_until_it_is_paid
89 server/payments/test_webhook.py::test_row_89_a_session_that_ended_unpaid_gives_nothing
90 server/payments/test_webhook.py::test_row_90_metadata_names_nobody
90 server/payments/test_webhook.py::test_row_90_a_session_of_another_customer_is_refused
91 server/test_bad_input.py::test_sql_is_stored_inert
91 server/test_bad_input.py::test_sql_in_paths_and_queries
92-94 server/test_bad_input.py::test_queries[]
95 server/test_limits.py::test_a_session_changes_twenty_times_a_minute
95 server/test_shared_limits.py::test_servers_share_one_figure
96 server/test_limits.py::test_a_forged_forwarded_for_helps_nobody
97 server/test_cross_app.py::test_a_flood_of_log_ins_is_stopped_by_account_and_by_address
98 server/test_cross_app.py::test_who_is_unknown_and_who_is_mistaken_get_equal_answers
98 server/test_cross_app.py::test_who_is_unknown_costs_as_much_work
99 server/test_bad_input.py::test_smuggling_is_refused
100 ledger/test_privileges.py::test_an_application_writes_no_table
100 ledger/test_privileges.py::test_an_application_is_denied
100 ledger/test_guards.py::test_row_100_an_application_changes_no_table
100 ledger/test_guards.py::test_row_100_an_application_reads_no_secret
101 ledger/test_privileges.py::test_every_function_fixes_its_search_path
101 ledger/test_guards.py::test_row_101_no_function_with_the_owners_rights_looks_into_temporary_tables_first
101 ledger/test_guards.py::test_row_101_temporary_tables_and_functions_stand_in_for_nothing
102 ledger/test_guards.py::test_row_102_the_public_executes_nothing
102 ledger/test_guards.py::test_row_102_a_role_without_rights_deducts_nothing
103 server/test_least_privilege.py::test_row_103_a_superuser_is_refused
103 server/test_least_privilege.py::test_row_103_who_can_be_too_much_is_refused
103 ledger/test_row_security.py::test_who_names_no_organisation_reads_nothing
103 ledger/test_row_security.py::test_who_names_an_organisation_reads_its_rows_only
104 ledger/test_refusals.py::test_amounts_that_cannot_move_are_refused
104 ledger/test_guards.py::test_row_104_no_credits_are_minted_by_taking_fewer_than_none
105 ledger/test_by_hand.py::test_an_organisation_with_books_stays
105 ledger/test_by_hand.py::test_foreign_keys_never_cascade
105 ledger/test_guards.py::test_row_105_an_organisation_cannot_be_deleted_from_under_its_books
105 ledger/test_guards.py::test_row_105_every_key_to_an_organisation_restricts
106 ledger/test_by_hand.py::test_history_is_only_added_to
106 ledger/test_guards.py::test_row_106_what_happened_stays_written
107 sdk/test_canary.py::test_a_credential_of_a_server
107 sdk/test_canary.py::test_metadata
107 server/test_canary.py::test_a_secret_in_a_strange_place
107 server/test_canary.py::test_a_secret_in_metadata_is_not_kept
107 server/test_canary.py::test_a_secret_in_an_exception_is_not_logged
108 server/test_outage.py::test_a_server_starts_without_its_database
109 server/test_credentials.py::test_a_credential_is_looked_up_by_its_digest
109 server/test_credentials.py::test_digests_are_found_by_index
109 server/test_credentials.py::test_only_digests_are_kept
110 sdk/test_hostile_server.py::test_an_answer_that_is_none_is_one_typed_error
110 sdk/test_hostile_server.py::test_an_answer_that_never_ends_is_given_up
110 sdk/test_hostile_server.py::test_a_huge_body_is_not_read_to_its_end
110 sdk/test_hostile_server.py::test_a_redirect_is_not_followed
110 sdk/test_hostile_server.py::test_a_wait_beyond_the_deadline_is_not_begun
"""


def entries() -> list[tuple[int, str, str, bool]]:
    """Return row, file, test, and whether the row is a case of that test."""
    found = []
    for line in SHOWN_BY.strip().splitlines():
        if line.startswith("#"):
            continue
        rows, _, node = line.partition(" ")
        path, _, test = node.partition("::")
        first, _, last = rows.partition("-")
        found += [
            (row, path, test.removesuffix("[]"), test.endswith("[]"))
            for row in range(int(first), int(last or first) + 1)
        ]
    return found


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((HERE / path).read_text())


def functions(path: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in parsed(path).body if isinstance(node, kinds)}


def cases(path: str) -> set[str]:
    """Return the first words of the texts of a file: the cases of its tests begin with their row."""
    constants = (node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant))
    return {text.partition(" ")[0] for text in constants if isinstance(text, str) and " " in text}


@pytest.mark.parametrize("row", range(1, LAST_ROW + 1))
def test_every_row_is_shown_by_a_test(row: int) -> None:
    shown = [entry for entry in entries() if entry[0] == row]
    assert bool(shown) != (row in NOT_YET)
    for _, path, test, is_case in shown:
        assert test in functions(path)
        assert not is_case or str(row) in cases(path)

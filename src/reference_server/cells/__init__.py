"""Organisations in several databases.

The home database (`DATABASE_URL`) has who calls, what users pay from their own balances, and the directory
of organisations; `CREDITS_CELLS` names the others. An organisation's books are in one of them at a time,
which the databases see to themselves: see `ledger.keep_moved`.
"""

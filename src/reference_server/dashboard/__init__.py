"""The dashboard: what the ledger answers, as pages for people."""

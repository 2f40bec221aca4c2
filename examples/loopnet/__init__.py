"""LoopNet: company data, paid with credits of an organisation's pool."""

"""Test billable code without a server, a database or a wait.

The pytest plugin gives every test a `fake_credits`:

    def test_enrichment_costs_50_credits(fake_credits):
        fake_credits.serve(billing)
        ada = fake_credits.member("ada", credits=100)
        enrich("c-1", account=ada)
        fake_credits.assert_charged(50, account=ada, service_type="company_enrichment")
        fake_credits.assert_no_open_holds()
"""

from credit_sdk.testing._books import FakeCharge, FakeHold
from credit_sdk.testing._clock import FakeClock
from credit_sdk.testing._fake import FakeCredits
from credit_sdk.testing._faults import Faults, SimulatedCrash

__all__ = ["FakeCharge", "FakeClock", "FakeCredits", "FakeHold", "Faults", "SimulatedCrash"]

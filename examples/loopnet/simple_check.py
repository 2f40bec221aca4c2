"""Example 1, a simple check: can the user afford an operation? For a button's label, never as a guard.

python -m examples.loopnet.simple_check
"""

from credit_sdk import Account
from credit_sdk.amounts import Amount, format_credits
from examples.loopnet.billing import billing, customer


def can_user_afford_operation(account: Account, cost: Amount) -> tuple[bool, str]:
    """Return whether the credits suffice now, and a sentence for the screen."""
    check = billing.check(account, cost)
    left = format_credits(check.available_credits)
    if check:
        return True, f"{cost} credits; you have {left}"
    return False, f"{cost} credits needed, but only {left} left"


def main() -> None:
    """Ask about something cheap and something dear."""
    account = customer()
    for cost in (50, 100_000):
        can_afford, message = can_user_afford_operation(account, cost)
        print(f"{'yes' if can_afford else 'no'}: {message}")


if __name__ == "__main__":
    main()

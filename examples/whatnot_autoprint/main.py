"""An evening at the printer: a label, one that fails, and one that the credits do not cover.

python -m examples.whatnot_autoprint.main
"""

import tempfile
from pathlib import Path

from credit_sdk import InsufficientCreditsError, PaymentsUnavailableError
from examples.whatnot_autoprint.labels import LabelError, Order
from examples.whatnot_autoprint.service import WhatnotAutoprintService

ORDER = Order("WN-1001", "Maxi Muster", ("12 Example Street", "Springfield, IL 62701"), ("1 x signed card",))
WITHOUT_ADDRESS = Order("WN-1002", "Kim Example", ())
A_WHOLE_SHOW = Order("WN-1003", "Whatnot Warehouse", ("1 Fulfilment Road", "Reno, NV 89501"), ("96 parcels",))


def main() -> None:
    """Print three orders."""
    with tempfile.TemporaryDirectory() as folder, WhatnotAutoprintService(Path(folder)) as service:
        service.authenticate("user@example.com", "password123")
        print(f"Logged in; {service.get_credit_balance()} credits.")
        print_label(service, ORDER)
        print_label(service, ORDER)  # again: it is charged once
        print_label(service, WITHOUT_ADDRESS)
        print_label(service, A_WHOLE_SHOW, credits_required=96)


def print_label(service: WhatnotAutoprintService, order: Order, credits_required: int = 5) -> None:
    """Print one label and say what it cost; without credits, say where there are more."""
    try:
        label = service.process_autoprint_job(order, credits_required)
    except LabelError as error:
        print(f"{order.number}: failed, not charged: {error}. {service.get_credit_balance()} credits left.")
    except InsufficientCreditsError as error:
        print(f"{order.number}: {error}")
        print(f"  {offer(service)}")
    else:
        size = label.stat().st_size
        print(f"{order.number}: {label.name}, {size:,} bytes. {service.get_credit_balance()} credits left.")


def offer(service: WhatnotAutoprintService) -> str:
    """Return where there are more credits, or that none are sold."""
    try:
        address = service.purchase_credits("starter", "https://whatnot-autoprint.example/credits")
    except PaymentsUnavailableError as error:
        return str(error)
    return f"Buy credits: {address}"


if __name__ == "__main__":
    main()

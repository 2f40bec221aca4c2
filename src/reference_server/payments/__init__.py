"""Selling credits through Stripe: checkouts, products, subscriptions, and the events that Stripe sends."""

from reference_server.payments.checkouts import Checkout, Seller
from reference_server.payments.packages import Package

__all__ = ["Checkout", "Package", "Seller"]

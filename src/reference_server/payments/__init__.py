"""Selling credits through Stripe: checkouts, products, subscriptions, and the events that Stripe sends."""

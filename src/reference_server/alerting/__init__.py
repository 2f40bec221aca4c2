"""Alerts: noticing what crosses a threshold, and telling of it by signed webhooks."""

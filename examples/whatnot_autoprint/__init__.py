"""Whatnot Autoprint: shipping labels, paid with the credits of a single user."""

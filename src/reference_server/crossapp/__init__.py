"""Users who log in here from other applications (SPEC section 6, /api/cross-app)."""

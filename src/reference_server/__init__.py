"""The server that keeps the books: billing tables and HTTP API."""

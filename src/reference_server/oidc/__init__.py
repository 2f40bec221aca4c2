"""People from an OpenID Connect provider: logging in, logging out, and bearer access tokens.

settings    how the provider and this server know each other
keys        the provider's public keys, fetched when needed and not more often
tokens      from a token to claims that can be believed, and to a person
provider    everything that is asked of the provider
access      whose access token a request carries
attempts    a log-in that was begun, sealed in a cookie
routes      /auth/login, /auth/callback, /auth/logout
"""

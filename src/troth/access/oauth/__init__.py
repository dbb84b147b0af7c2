"""The authorization server: OAuth 2.1 and OpenID Connect, each client domain an issuer of its own."""

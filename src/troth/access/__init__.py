"""Who may do what: accounts, sessions, the authorization server, and the tokens that open the API."""

"""The packet filter of this machine: what it lets pass, how it is changed without locking anybody out, and
whether it really holds."""

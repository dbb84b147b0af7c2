"""What a TLS server agrees to, asked from outside, and the grade that it earns."""

"""What people prove beside a password."""

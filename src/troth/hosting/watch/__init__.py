"""The watch over the platform: what is measured, what is an alert, and whom it is told to."""

"""Troth runs web services under the security standards a company promises, and proves every promise."""

VERSION = "0.1.0"

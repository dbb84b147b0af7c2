"""Traces: what the edge and the instances did for one request, for a collector of OpenTelemetry's."""

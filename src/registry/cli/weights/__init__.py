"""Commands that inspect, compare and convert weight files."""

"""Enables the registry's conformance kit."""

pytest_plugins = ["registry.testing.plugin"]

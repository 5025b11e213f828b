"""Configurations: the base class, its fields, and which architecture a configuration file describes."""

from registry.config.config import Config as Config

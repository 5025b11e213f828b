"""Configurations: the base class, kinds of fields, and the configuration among the files of a model."""

from registry.config.config import Config as Config

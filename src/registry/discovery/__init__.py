"""From entry points to plugins to records: which installed plugin declares what.

The functions here are the methods of one ``Discovery``, that of this process.
"""

from registry.discovery.architectures import Architecture as Architecture
from registry.discovery.manager import Discovery as Discovery
from registry.discovery.plugin import ClassSpec as ClassSpec
from registry.discovery.plugin import Plugin as Plugin
from registry.discovery.plugin import PluginInfo as PluginInfo

_discovery = Discovery()

architecture = _discovery.architecture
architecture_of_model_type = _discovery.architecture_of_model_type
card = _discovery.card
class_named = _discovery.class_named
model_class_task = _discovery.model_class_task
weight_loaders = _discovery.weight_loaders
every = _discovery.every
settle = _discovery.settle
load_class = _discovery.load_class

owner = _discovery.owner
plugins_called = _discovery.plugins_called
records = _discovery.records
call_hooks_again = _discovery.call_hooks_again
failures = _discovery.failures
announced = _discovery.announced
plugins = _discovery.plugins

register = _discovery.register
unregister = _discovery.unregister
prefer = _discovery.prefer
only = _discovery.only
refresh = _discovery.refresh
isolated = _discovery.isolated

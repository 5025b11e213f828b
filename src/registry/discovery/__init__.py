"""From entry points to plugins to records: which installed plugin declares what."""

from registry.discovery.architecture import Architecture as Architecture
from registry.discovery.lookup import PluginInfo as PluginInfo
from registry.discovery.lookup import announced as announced
from registry.discovery.lookup import architecture as architecture
from registry.discovery.lookup import architecture_of_model_type as architecture_of_model_type
from registry.discovery.lookup import card as card
from registry.discovery.lookup import class_named as class_named
from registry.discovery.lookup import every as every
from registry.discovery.lookup import failures as failures
from registry.discovery.lookup import load_class as load_class
from registry.discovery.lookup import model_class_task as model_class_task
from registry.discovery.lookup import only as only
from registry.discovery.lookup import owner as owner
from registry.discovery.lookup import plugins as plugins
from registry.discovery.lookup import plugins_called as plugins_called
from registry.discovery.lookup import prefer as prefer
from registry.discovery.lookup import records as records
from registry.discovery.lookup import refresh as refresh
from registry.discovery.lookup import register as register
from registry.discovery.lookup import settle as settle
from registry.discovery.lookup import unregister as unregister
from registry.discovery.lookup import weight_loaders as weight_loaders
from registry.discovery.plugin import ClassSpec as ClassSpec

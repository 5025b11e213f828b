"""From entry points to plugins to records: which installed plugin declares what."""

from registry.discovery.lookup import PluginInfo as PluginInfo
from registry.discovery.lookup import announced as announced
from registry.discovery.lookup import every as every
from registry.discovery.lookup import failures as failures
from registry.discovery.lookup import find as find
from registry.discovery.lookup import load_class as load_class
from registry.discovery.lookup import only as only
from registry.discovery.lookup import owner as owner
from registry.discovery.lookup import plugins as plugins
from registry.discovery.lookup import plugins_called as plugins_called
from registry.discovery.lookup import prefer as prefer
from registry.discovery.lookup import records as records
from registry.discovery.lookup import refresh as refresh
from registry.discovery.lookup import register as register
from registry.discovery.lookup import unregister as unregister

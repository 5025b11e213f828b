"""What a plugin declares: frozen records which hold strings, never classes.

Calling the hooks of a plugin is therefore cheap, and imports neither torch nor any architecture.  Every record checks
itself in its constructor, so that an error points at the line of its author.
"""

from typing import TypeAlias

from registry.records.cards import HUB as HUB
from registry.records.cards import Card as Card
from registry.records.cards import FileSpec as FileSpec
from registry.records.specs import CORE_FORMATS as CORE_FORMATS
from registry.records.specs import OUTPUTS as OUTPUTS
from registry.records.specs import ROLES as ROLES
from registry.records.specs import TASK_ALIASES as TASK_ALIASES
from registry.records.specs import TASKS as TASKS
from registry.records.specs import ConfigSpec as ConfigSpec
from registry.records.specs import LayerSpec as LayerSpec
from registry.records.specs import LazyRef as LazyRef
from registry.records.specs import ModelSpec as ModelSpec
from registry.records.specs import Paths as Paths
from registry.records.specs import TokenizerSpec as TokenizerSpec
from registry.records.specs import WeightLoaderSpec as WeightLoaderSpec

Record: TypeAlias = ConfigSpec | ModelSpec | TokenizerSpec | WeightLoaderSpec | Card | LayerSpec

"""The base class of every model."""

from typing import Any, ClassVar

from torch import nn

from registry.config import Config
from registry.loading import LoadReport
from registry.weights.names import Layout


class Model(nn.Module):
    """A torch module that is built from a configuration, loaded by name, and saved as a folder."""

    config_class: ClassVar[type[Config]]
    layout: ClassVar[Layout]
    """How the architecture's weights are named."""

    load_report: LoadReport | None = None

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise TypeError(f"{type(self).__name__} needs a {self.config_class.__name__}, not {config!r}.")
        self.config: Any = config

    def _init(self, module: nn.Module) -> None:
        """Initialise the parameters which ``module`` itself owns; an architecture says how."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialise every parameter as for training from scratch."""
        self.apply(self._init)

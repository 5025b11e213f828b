"""The tensors of a model that have a row for each token of its vocabulary, and how they get more rows, or fewer."""

from typing import Any

import torch
from torch import Tensor, nn

from registry.errors import UnsupportedError
from registry.nn.inputs import rows_in
from registry.weights.names import Layout


class WithVocabulary(nn.Module):
    """What a model offers of its vocabulary; ``Layout.vocabulary`` names the tensors with a row for each token."""

    config: Any
    layout: Layout

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters which ``module`` itself owns."""
        raise NotImplementedError(f"{type(self).__name__} does not define how its weights are initialized.")

    def get_input_embeddings(self) -> nn.Module:
        """The layer that embeds tokens.

        Raises:
            UnsupportedError: The architecture names none (``Layout.vocabulary``).
        """
        return self.get_submodule(self._vocabulary()[0])

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the layer that embeds tokens; what is tied to its weight follows."""
        _replace_submodule(self, self._vocabulary()[0], value)
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """The layer that scores tokens; None for a model without one."""
        paths = self._vocabulary()[1:]
        return self.get_submodule(paths[0]) if paths else None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the layer that scores tokens.

        Raises:
            UnsupportedError: The model has none.
        """
        paths = self._vocabulary()[1:]
        if not paths:
            raise UnsupportedError(f"{type(self).__name__} has no layer that scores tokens.")
        _replace_submodule(self, paths[0], value)

    def enable_input_require_grads(self) -> None:
        """Have embedded tokens require gradients, which reentrant checkpointing needs where the weights are frozen."""
        self.get_input_embeddings().register_forward_hook(lambda _module, _inputs, output: output.requires_grad_())

    def tie_weights(self) -> None:
        """Share the weights that the configuration says are shared, where another tool made them two."""
        tensors = self._tensors_in_full()
        for group in self.layout.ties:
            owners = [tensors[name] for name in group if name in tensors]
            for module, key in owners[1:]:
                share(module, key, getattr(*owners[0]))

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Change the number of tokens; heads, their bias, ties and the configuration follow.

        Parameters are replaced, so that an optimizer must be made after this.

        Args:
            new_num_tokens: Rows of the embedding; old ones are kept, from the first on.  None for those it has.
            pad_to_multiple_of: Round the number up to a multiple of this.
            mean_resizing: Draw new rows from the mean and the spread of the old ones; false draws them as the model
                initializes its weights.

        Returns:
            The layer that embeds tokens.

        Raises:
            ConfigError: Another field cannot be right then, such as the token of padding.
            UnsupportedError: The vocabulary of this architecture cannot be changed, or a parameter is sharded.
        """
        table: Any = self.get_input_embeddings()
        number = rounded_up(new_num_tokens or rows_in(table), pad_to_multiple_of)
        if number == rows_in(table):
            return table
        config = self.config.with_vocabulary(number)
        self._replace_rows(number, mean_resizing)
        before = self.config
        for module in self.modules():
            if isinstance(module, WithVocabulary) and module.config is before:
                module.config = config
        return self.get_input_embeddings()

    def _replace_rows(self, number: int, mean_resizing: bool) -> None:
        """Change the number of rows of every tensor that has one for each token."""
        tensors = self._tensors_in_full()
        owners = {name: tensors[name] for name in self.layout.vocabulary if name in tensors}
        for name, (module, key) in owners.items():
            refuse_without_rows({**module._parameters, **module._buffers}[key], name)  # a divided layer shows its share
        rows = rows_in(self.get_input_embeddings())
        made: dict[int, Tensor] = {}
        for module, key in owners.values():
            before = getattr(module, key)
            if id(before) not in made:
                if len(before) != rows == before.shape[-1]:
                    resized = with_rows(before.movedim(-1, 0), number).movedim(0, -1).contiguous()
                else:
                    initial = None if mean_resizing else self._initial_rows(module, key, number)
                    resized = with_rows(before, number, initial)
                is_parameter = isinstance(before, nn.Parameter)
                made[id(before)] = nn.Parameter(resized, before.requires_grad) if is_parameter else resized
            share(module, key, made[id(before)])

    def _tensors_in_full(self) -> dict[str, tuple[nn.Module, str]]:
        """The owner of each parameter and buffer and its key there, by full name."""
        owners = {
            f"{path}.{key}" if path else key: (module, key)
            for path, module in self.named_modules(remove_duplicate=False)
            for key, tensor in (*module._parameters.items(), *module._buffers.items())
            if tensor is not None
        }
        return {full: owners[name] for name, full in self.layout.in_full(list(owners)).items()}

    def _initial_rows(self, module: nn.Module, key: str, number: int) -> Tensor:
        """So many rows for a parameter, as the model initializes them."""
        before = getattr(module, key)
        rows = nn.Parameter(before.detach().new_empty(number, *before.shape[1:]))
        setattr(module, key, rows)
        with torch.no_grad():
            self.init_module(module)
        setattr(module, key, before)
        return rows

    def _vocabulary(self) -> list[str]:
        """Paths of the layers that have a row for each token: the embedding, and those that score tokens."""
        if not self.layout.vocabulary:
            raise UnsupportedError(
                f"{type(self).__name__} does not say which of its weights have a row for each token.",
                hint="The author of the plugin lists them in Layout.vocabulary.",
            )
        paths = dict.fromkeys(
            name.removesuffix(".weight") for name in self.layout.vocabulary if name.endswith(".weight")
        )
        modules = dict(self.named_modules(remove_duplicate=False))
        bare = (path if path in modules else path.removeprefix(self.layout.prefix) for path in paths)
        return [path for path in bare if path in modules]


# --- Rows -------------------------------------------------------------------------------------------------------------


def with_rows(tensor: Tensor, number: int, new: Tensor | None = None) -> Tensor:
    """A tensor with another number of rows.

    Args:
        tensor: ``(rows, ...)``.
        number: How many rows to make of it.
        new: A tensor of so many rows, of which those behind the old ones are taken; None to draw them.

    Returns:
        The first rows of the tensor and, where there are more, new ones: from ``new``, or normally distributed, each
        feature with the mean and the standard deviation that it has in the old rows.  A head then gives new tokens
        scores like those of the others, and not the highest ones (Hewitt, 2021).
    """
    old = tensor.detach()
    if number <= len(old):
        return old[:number].clone()
    if new is None:
        wide = old.float()
        mean, spread = wide.mean(dim=0), wide.std(dim=0, correction=0)
        more = torch.randn(number - len(old), *old.shape[1:], device=old.device) * spread + mean
    else:
        more = new.detach()[len(old) :]
    return torch.cat([old, more.to(old.dtype)])


def share(module: nn.Module, key: str, tensor: Tensor) -> None:
    """Make a parameter, or a buffer, that of a module, whose sizes follow."""
    setattr(module, key, tensor)
    for cls, size in ((nn.Embedding, "num_embeddings"), (nn.Linear, "out_features")):
        if isinstance(module, cls) and key == "weight":
            setattr(module, size, len(tensor))


def refuse_without_rows(tensor: Tensor | None, name: str) -> None:
    """Raise UnsupportedError for a parameter whose rows are not all in the memory of this process."""
    if tensor is not None and (type(tensor) not in (Tensor, nn.Parameter) or tensor.is_meta):
        raise UnsupportedError(
            f"{name} is a {type(tensor).__name__} on {tensor.device}, whose rows cannot be changed.",
            hint="Resize before the model is sharded, quantized or moved.",
        )


def rounded_up(number: int, multiple: int | None) -> int:
    """The next multiple from a number of rows on; the number itself where there is none."""
    return number if multiple is None else -(-number // multiple) * multiple


def _replace_submodule(model: nn.Module, path: str, value: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, value)

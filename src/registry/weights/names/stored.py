"""Where the tensors of a model are in a file."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self, TypeAlias

from attrs import frozen

from registry.errors import WeightsMismatchError

if TYPE_CHECKING:
    from torch import Tensor

    from registry.weights.names.lazy import Value

Operation: TypeAlias = Callable[["Tensor"], "Tensor"]
"""What a row does to a tensor in addition to renaming it; it returns a view where it can."""


@frozen(repr=False)
class StoredTensor:
    """The origin of a tensor of ours: its name in the file, and the operations on it, in order."""

    name: str
    operations: tuple[Operation, ...] = ()
    renamed: bool = False
    """Whether a table gives it another name."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names in the file."""
        return (self.name,)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names that the file lacks, where it has others of the tensor."""
        return ()

    def then(self, operation: Operation | None, *, renamed: bool) -> Self:
        """The same with another operation after the others, and perhaps another name."""
        operations = self.operations if operation is None else (*self.operations, operation)
        return self._with(operations, self.renamed or renamed)

    def _with(self, operations: tuple[Operation, ...], renamed: bool) -> Self:
        return type(self)(self.name, operations, renamed)  # a thousand times for a large model

    def read(self, tensors: "Mapping[str, Tensor]") -> "Tensor":
        """Read the tensor, and apply the operations."""
        tensor = self._tensor(tensors)
        for operation in self.operations:
            tensor = operation(tensor)
        return tensor

    def lazy(self, tensors: "Mapping[str, Tensor]") -> "Value":
        """The same, but one of several tensors in the file is gathered only when it is read, as far as it is needed."""
        return self.read(tensors)

    def _tensor(self, tensors: "Mapping[str, Tensor]") -> "Tensor":
        return tensors[self.name]


def same_name(one: StoredTensor, other: StoredTensor, ours: str) -> WeightsMismatchError:
    """The error for two tensors that would have one name."""
    return WeightsMismatchError(
        f"{one.name!r} and {other.name!r} are both names of {ours!r}.",
        hint="Remove one of the two from the file: nothing says which is meant.",
    )

"""Names of weights: tables from the names in a file to ours, and the layout of an architecture's names."""

from registry.weights.names.layout import WRAPPERS as WRAPPERS
from registry.weights.names.layout import Layout as Layout
from registry.weights.names.rules import gathered as gathered
from registry.weights.names.rules import parted as parted
from registry.weights.names.rules import renamed as renamed
from registry.weights.names.stored import Operation as Operation
from registry.weights.names.stored import StoredTensor as StoredTensor
from registry.weights.names.stored import same_name as same_name
from registry.weights.names.table import NameTable as NameTable
from registry.weights.names.table import Translation as Translation
from registry.weights.names.table import squeezed as squeezed
from registry.weights.names.table import transposed as transposed

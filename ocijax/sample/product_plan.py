"""How the programs of `ocijax.sample.fused_products` share a layer's products and their memory."""

from dataclasses import dataclass

ROWS = 64
"""Of a warpgroup's matrix product on Hopper, whether all are needed or not."""
ALIGNMENT = 8
"""Rows of a tile of shared memory, which numbers of rows and of a program's outputs divide into."""
INPUTS = 64
"""Numbers of a row of shared memory, 128 bytes: inputs of one output, or of one row."""
ACTIVATION_STAGES = 4
"""Of the activations that weights are multiplied with."""
STAGES_AT_FIRST = 2
"""Of weights that are under way in the first steps of a product, where programs wait for each other
and what they tell each other waits behind all that is under way."""

_PARTS = 4
"""Most copies along the inputs that are one stage."""
_STAGE_ROWS = 192
"""Rows of shared memory of a stage of weights, if that much is of use."""
_STAGES = 6
"""Most of weights, which are fetched ahead while programs wait for each other."""
_LEAST_STAGES = 3
_ROWS_UNDER_WAY = 576
"""Of shared memory, of weights: 72 KiB of each program keep the memory busy."""
_SHARED_MEMORY = 226 * 2**10
"""Bytes of a program, without its barriers."""
_SUMS = 256
"""Most outputs of a program whose sums fit in a warpgroup's registers."""


@dataclass(frozen=True)
class Product:
    """A product, as programs share it.

    Attributes:
      inputs: numbers that are summed up.
      outputs: numbers that each row gets, of each group.
      groups: weights that are multiplied with the same numbers: gate and up are two.
      tile: outputs of a program, of each group.
      parts: copies along the inputs that a stage is, of each group.
      before: steps of the products before.
    """

    inputs: int
    outputs: int
    groups: int
    tile: int
    parts: int
    before: int

    @property
    def steps(self) -> int:
        """Stages that a program's weights come in."""
        return self.inputs // (INPUTS * self.parts)

    @property
    def tiles(self) -> int:
        """Programs that have outputs."""
        return -(-self.outputs // self.tile)

    @property
    def copies(self) -> int:
        """That a stage of weights is."""
        return self.parts * self.groups

    @property
    def stage_rows(self) -> int:
        """Rows of shared memory of a stage of weights."""
        return self.copies * self.tile


@dataclass(frozen=True)
class Plan:
    """How programs compute what is between one layer's attention and the next one's.

    Attributes:
      products: output; gate and up; down; the next layer's query, key and value.
      rows: of what is multiplied.
      programs: how many.
    """

    products: tuple[Product, ...]
    rows: int
    programs: int

    @property
    def fits(self) -> bool:
        """Whether products divide among programs, and programs' parts into their memory."""
        return (
            self.rows % ALIGNMENT == 0
            and self.rows <= ROWS
            and all(one.inputs % INPUTS == 0 for one in self.products)
            and all(one.outputs % one.tile == 0 for one in self.products if one.groups == 1)
            and all(one.groups * one.tile <= _SUMS for one in self.products)
            and self.stages >= _LEAST_STAGES
        )

    @property
    def steps(self) -> int:
        """Of all products."""
        return sum(product.steps for product in self.products)

    @property
    def parts(self) -> int:
        """Most of a stage."""
        return max(product.parts for product in self.products)

    @property
    def copies(self) -> int:
        """Most that a stage of weights is."""
        return max(product.copies for product in self.products)

    @property
    def stage_rows(self) -> int:
        """Rows of shared memory of a stage of weights."""
        return max(product.stage_rows for product in self.products)

    @property
    def activation_rows(self) -> int:
        """Rows of shared memory of all stages of activations.

        A product reads `ROWS` from where a part begins: those behind the part are not needed.
        """
        return ACTIVATION_STAGES * self.parts * self.rows + ROWS - self.rows

    def first_activation_row(self, stage, part: int):
        """Of shared memory, of a part of a stage of activations."""
        return stage * (self.parts * self.rows) + part * self.rows

    @property
    def stages(self) -> int:
        """Of weights."""
        rows = _SHARED_MEMORY // (2 * INPUTS) - self.activation_rows
        return min(_STAGES, rows // self.stage_rows)

    def stages_under_way(self, product: Product) -> int:
        """Most of a product's weights that are fetched at once."""
        return min(self.stages, max(STAGES_AT_FIRST, _ROWS_UNDER_WAY // product.stage_rows))


def plan_products(
    rows: int, attended: int, hidden: int, inner: int, joined: int, programs: int
) -> Plan:
    """The plan for widths of a Llama's layers.

    Args:
      rows: of what is multiplied.
      attended: numbers that attention gives.
      hidden: of the hidden state.
      inner: of the MLP.
      joined: of query, key and value together.
      programs: how many share them.
    """
    products: list[Product] = []
    for inputs, outputs, groups in (
        (attended, hidden, 1),
        (hidden, inner, 2),
        (inner, hidden, 1),
        (hidden, joined, 1),
    ):
        tile = -(-outputs // (ALIGNMENT * programs)) * ALIGNMENT
        parts = min(_PARTS, max(1, _STAGE_ROWS // (groups * tile)))
        while inputs // INPUTS % parts:
            parts -= 1
        before = products[-1].before + products[-1].steps if products else 0
        products.append(Product(inputs, outputs, groups, tile, parts, before))
    return Plan(tuple(products), rows, programs)

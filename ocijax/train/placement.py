"""Which rows of a batch this process reads, and how they come to lie on the devices."""

from functools import cache

import jax
from jax.sharding import Mesh

from ocijax.data.packing import Row
from ocijax.train.loss import Batch
from ocijax.train.step import batch_sharding


@cache  # asked for at every batch, and as slow as there are devices
def host_share(mesh: Mesh) -> tuple[int, int]:
    """``(index, count)``: into how many parts the processes split a batch, and which is ours.

    Processes whose devices hold the same rows, along a mesh axis that splits no rows, read the
    same part.
    """
    held: dict[int, set[tuple[int, int, int]]] = {}
    # As many rows as devices: every mesh divides them.
    places = batch_sharding(mesh).devices_indices_map((mesh.size, mesh.size))
    for device, (rows, _) in places.items():
        held.setdefault(device.process_index, set()).add(rows.indices(mesh.size))
    shares = sorted({tuple(sorted(rows)) for rows in held.values()})
    return shares.index(tuple(sorted(held[jax.process_index()]))), len(shares)


def place(share: Row, mesh: Mesh) -> Batch:
    """A batch on the devices, of which this process read its share.

    Args:
      share: arrays ``[batch_size / count, length]``, by the count of `host_share`.
      mesh: of the step.
    """
    _, count = host_share(mesh)
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(
            sharding, array, (count * array.shape[0], array.shape[1])
        )
        for name, array in share.items()
    }

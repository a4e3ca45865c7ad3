"""The recipe of the OpenCodeInterpreter paper (arXiv 2402.14658), for each of its models.

The paper states three epochs, a learning rate of 2e-5, 5 % of warm-up, a cosine and 4,096 tokens,
which are our defaults; the batch is ours. How it is laid out depends on the devices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from configs.base import recipe
from ocijax.model.presets import PRESETS
from ocijax.model.remat import Remat

ROWS = 64
"""In a batch."""


@dataclass(frozen=True)
class Layout:
    """How a batch is spread over some devices; parameters are split over all but ``tensor``.

    Attributes:
      micro_batches: parts that the batch is run in.
      remat: what the backward computes again.
      tensor: devices that heads and inner dimensions are split over.
      scan_layers: whether layers are scanned or unrolled, see `ocijax.model.decoder.ComputeConfig`.
    """

    micro_batches: int = 1
    remat: Remat = "full"
    tensor: int = 1
    scan_layers: bool = True


def paper_recipe(
    preset: str,
    template: str,
    layouts: Mapping[str, Layout],
    devices: str,
    **changes: Mapping[str, Any],
) -> ConfigDict:
    """The paper's recipe for a model on these devices.

    Args:
      preset: name of the model in `ocijax.model.presets`.
      template: name of the chat template.
      layouts: by devices, spelled as ``--topology`` of `launch.plan` has them.
      devices: those to train on.
      changes: further ones, see `configs.base.recipe`.

    Raises:
      LookupError: there is no layout for these devices; other errors `ml_collections` would hide.
    """
    if devices not in layouts:
        raise LookupError(
            f"{preset} has no layout for {devices!r}; choose {', '.join(layouts)}, or begin with "
            "one of them and set --config.mesh, --config.train.micro_batches and remat"
        )
    layout = layouts[devices]
    return recipe(
        PRESETS[preset],
        data={"template": template},
        train={
            "batch_size": ROWS,
            "micro_batches": layout.micro_batches,
            "spike_threshold": 10.0,
            "remat": layout.remat,
            "evaluate_every": 200,
            "checkpoint_every": 200,
        },
        compute={"scan_layers": layout.scan_layers},
        mesh={"data": 1, "fsdp": -1, "tensor": layout.tensor},
        **changes,
    )

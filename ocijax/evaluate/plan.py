"""What a sweep measures: a TOML file that names models, benchmarks, protocols and rounds.

Every combination is one run::

    workdir = "runs/sweep"
    checkpoints = ["runs/first", "runs/second"]
    benchmarks = ["humaneval", "mbpp"]        # or files of tasks
    protocols = ["single", "execution", "resample", "resample_tokens"]
    rounds = [2, 3]
    samples = 1

    [sampling]                                # as in ocijax.sample.settings, for all protocols
    max_new_tokens = 1024
    [sampling.resample]                       # and other values for one
    temperature = 0.8
    [sampling.resample_tokens]
    temperature = 0.8

    [checkpoint]                              # as in ocijax.evaluate.checkpoint.Loading
    draft_tokens = 7

    [[endpoints]]                             # models that others serve
    url = "http://127.0.0.1:8000/v1"
    model = "third"

    [adviser]                                 # of the protocols human and human_oracle
    url = "http://127.0.0.1:8001/v1"
    model = "fourth"

``prompts`` (a preset or file), ``oracle_tests``, ``evaluator``, ``sanitizer``, ``tasks`` (the
first so many), ``packages`` and ``batch_size`` may stand at the top. A run of ``resample_tokens``
has the budget of the run of ``budget_protocol`` (``execution`` by default) with as many rounds,
which has to be planned too; rounds, not tokens, end that one.
"""

import hashlib
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ocijax.configuration import from_mapping
from ocijax.errors import InputError
from ocijax.evaluate.checkpoint import Loading
from ocijax.evaluate.protocols import PROTOCOLS, check_protocol
from ocijax.evaluate.store import identity
from ocijax.judge.checker import Evaluator
from ocijax.refine.sanitize import SANITIZERS
from ocijax.sample.settings import SamplingSettings

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class EndpointModel:
    """A model that somebody else serves.

    Attributes:
      url: of the endpoint, up to ``/v1``.
      model: which of its models.
    """

    url: str
    model: str


@dataclass(frozen=True)
class Plan:
    """What a sweep measures; see above for the fields. ``sampling`` is by protocol, of all of them.

    Raises:
      ValueError: a field is empty or out of its range, or one does not fit another.
    """

    workdir: str
    benchmarks: tuple[str, ...]
    protocols: tuple[str, ...]
    sampling: Mapping = field(default_factory=lambda: _sampling({}))
    checkpoints: tuple[str, ...] = ()
    endpoints: tuple[EndpointModel, ...] = ()
    rounds: tuple[int, ...] = (2,)
    samples: int = 1
    checkpoint: Loading = field(default_factory=Loading)
    adviser: EndpointModel | None = None
    prompts: str = "turns"
    oracle_tests: Literal["base", "plus"] = "plus"
    evaluator: Evaluator = "ocijax"
    sanitizer: str = "fenced"
    budget_protocol: str = "execution"
    tasks: int | None = None
    packages: tuple[str, ...] = ("numpy",)
    batch_size: int = 64

    def __post_init__(self):
        for name in ("workdir", "benchmarks", "protocols", "rounds", "prompts"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        for name in ("rounds", "samples", "tasks", "batch_size"):
            value = getattr(self, name)
            least = min(value) if isinstance(value, tuple) else value
            if least is not None and least < 1:
                raise ValueError(f"{name} must be at least 1, is {least}")
        if not (self.checkpoints or self.endpoints):
            raise ValueError("checkpoints must not be empty where there are no endpoints")
        for name, known in (("sanitizer", SANITIZERS), ("budget_protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}")
        for protocol in self.protocols:
            self._check(protocol)

    def _check(self, protocol: str) -> None:
        for rounds in self.rounds_of(protocol):
            settings = self.sampling.get(protocol, SamplingSettings())
            check_protocol(protocol, rounds, settings.temperature)
        if PROTOCOLS[protocol].advised and self.adviser is None:
            raise ValueError(f"adviser is missing, which protocol {protocol} needs")
        if PROTOCOLS[protocol].budgeted:
            if self.budget_protocol not in self.protocols:
                raise ValueError(
                    f"protocols must have {self.budget_protocol}, whose tokens {protocol} may spend"
                )
            if self.budget_protocol == "single" or PROTOCOLS[self.budget_protocol].budgeted:
                raise ValueError(
                    f"budget_protocol must have rounds, which {self.budget_protocol} has not"
                )

    def rounds_of(self, protocol: str) -> tuple[int, ...]:
        """The numbers of rounds of a protocol's runs: of ``single`` one."""
        return (1,) if protocol == "single" else tuple(dict.fromkeys(self.rounds))

    def ordered_protocols(self) -> list[str]:
        """Those whose tokens others need, first."""
        return sorted(dict.fromkeys(self.protocols), key=lambda one: PROTOCOLS[one].budgeted)


def run_folder(workdir: str | Path, record: Mapping[str, Any]) -> Path:
    """The folder of a run, named by what makes it, so that other settings never meet its results.

    Args:
      workdir: of the sweep.
      record: as `ocijax.evaluate.evaluation.evaluate` gives it.
    """
    content = json.dumps(identity(record), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Path(workdir) / f"{record['benchmark']}-{record['protocol']}-{digest[:16]}"


def read_plan(path: str | Path) -> Plan:
    """The plan of a TOML file.

    Raises:
      InputError: it cannot be read, or a field is missing, unknown, of the wrong type or does not
        fit.
    """
    try:
        parsed = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--plan={path}: cannot read it: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"--plan={path}: no TOML: {error}") from error
    try:
        return _typed(Plan, {**parsed, "sampling": _sampling(parsed.get("sampling", {}))}, "plan")
    except InputError as error:
        raise InputError(f"--plan={path}: {error}") from error


def _sampling(table: Any) -> dict[str, SamplingSettings]:
    """How each protocol's answers are drawn: as the table says, and its table for the protocol."""
    place = "plan.sampling"
    common = {name: one for name, one in _table(table, place).items() if name not in PROTOCOLS}
    _typed(SamplingSettings, common, place)
    own = {name: _table(table.get(name, {}), f"{place}.{name}") for name in PROTOCOLS}
    return {
        name: _typed(SamplingSettings, common | values, f"{place}.{name}")
        for name, values in own.items()
    }


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{name}: must be a table, is {value!r}")
    return value


def _typed(kind: type[Kind], table: Mapping[str, Any], name: str) -> Kind:
    """`from_mapping`, but that a text is no list of what stands between its commas."""
    for key, hint in typing.get_type_hints(kind).items():
        if typing.get_origin(hint) is tuple and isinstance(table.get(key), str):
            raise InputError(f"{name}.{key}: must be a list, is {table[key]!r}")
    return from_mapping(kind, table, name)

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

    [checkpoint]                              # how checkpoints are loaded: template, dtype, ...
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
which has to be planned too.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ocijax.errors import InputError
from ocijax.evaluate.protocols import PROTOCOLS, check_protocol
from ocijax.judge.checker import EVALUATORS, Evaluator
from ocijax.refine.sanitize import SANITIZERS
from ocijax.sample.settings import SamplingSettings


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
    """What a sweep measures; see above for the fields."""

    workdir: str
    benchmarks: Sequence[str]
    protocols: Sequence[str]
    checkpoints: Sequence[str] = ()
    endpoints: Sequence[EndpointModel] = ()
    rounds: Sequence[int] = (2,)
    samples: int = 1
    sampling: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    adviser: EndpointModel | None = None
    prompts: str = "turns"
    oracle_tests: Literal["base", "plus"] = "plus"
    evaluator: Evaluator = "ocijax"
    sanitizer: str = "fenced"
    budget_protocol: str = "execution"
    tasks: int | None = None
    packages: Sequence[str] = ("numpy",)
    batch_size: int = 64

    def settings(self, protocol: str) -> SamplingSettings:
        """How a protocol's answers are drawn.

        Raises:
          InputError: a value is unknown or out of its range.
        """
        common = {name: one for name, one in self.sampling.items() if name not in PROTOCOLS}
        values = common | self.sampling.get(protocol, {})
        values["stop"] = tuple(values.get("stop", ()))
        known = [one.name for one in fields(SamplingSettings)]
        for name in values:
            if name not in known:
                raise InputError(f"sampling.{name} is unknown; there are {', '.join(known)}")
        try:
            return SamplingSettings(**values)
        except TypeError as error:
            raise InputError(f"sampling: a value is of the wrong type: {error}") from error

    def rounds_of(self, protocol: str) -> tuple[int, ...]:
        """The numbers of rounds of a protocol's runs: of ``single`` one."""
        return (1,) if protocol == "single" else tuple(dict.fromkeys(self.rounds))

    def ordered_protocols(self) -> list[str]:
        """Those whose tokens others need, first."""
        return sorted(dict.fromkeys(self.protocols), key=lambda one: PROTOCOLS[one].budgeted)


def run_folder(workdir: str | Path, record: Mapping[str, Any]) -> Path:
    """The folder of a run, named by what makes it, so that other settings never meet its results.

    What a model is called does not count where its content is known.

    Args:
      workdir: of the sweep.
      record: as `ocijax.evaluate.evaluation.evaluate` gives it.
    """
    unnamed = "model" if "model_sha256" in record else None
    content = {name: value for name, value in record.items() if name != unnamed}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Path(workdir) / f"{record['benchmark']}-{record['protocol']}-{digest[:16]}"


_CHECKPOINT = ("template", "dtype", "tensor", "draft_tokens", "int8_weights", "int8_cache")


def read_plan(path: str | Path) -> Plan:
    """The plan of a TOML file.

    Raises:
      InputError: it cannot be read, or a field is missing, unknown or does not fit.
    """
    try:
        parsed = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"--plan={path}: cannot read it: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"--plan={path}: no TOML: {error}") from error
    try:
        return _parse(parsed)
    except InputError as error:
        raise InputError(f"--plan={path}: {error}") from error


def _parse(parsed: dict[str, Any]) -> Plan:
    known = {one.name for one in fields(Plan)}
    if unknown := [name for name in parsed if name not in known]:
        raise InputError(f"{unknown[0]} is unknown; there are {', '.join(sorted(known))}")
    for name in ("workdir", "benchmarks", "protocols"):
        if not parsed.get(name):
            raise InputError(f"{name} is missing")
    for name in ("benchmarks", "protocols", "checkpoints", "rounds", "packages"):
        kind = int if name == "rounds" else str
        values = parsed.get(name, [])
        if not isinstance(values, list) or not all(type(one) is kind for one in values):
            raise InputError(f"{name} must be a list of {kind.__name__}")
    for name, kind in (("samples", int), ("tasks", int), ("batch_size", int), ("prompts", str)):
        if name in parsed and (type(parsed[name]) is not kind or parsed[name] in (0, "")):
            raise InputError(f"{name} must be a {kind.__name__}")
    if not (parsed.get("checkpoints") or parsed.get("endpoints")):
        raise InputError("it names neither checkpoints nor endpoints")
    for name in ("sampling", "checkpoint", "adviser"):
        if not isinstance(parsed.get(name, {}), dict):
            raise InputError(f"{name} must be a table")
    if parsed.get("oracle_tests", "plus") not in ("base", "plus"):
        raise InputError("oracle_tests is neither base nor plus")
    if parsed.get("sanitizer", "fenced") not in SANITIZERS:
        raise InputError(f"sanitizer must be one of {', '.join(SANITIZERS)}")
    if parsed.get("evaluator", "ocijax") not in EVALUATORS:
        raise InputError(f"evaluator must be {' or '.join(EVALUATORS)}")
    if unknown := [name for name in parsed.get("checkpoint", {}) if name not in _CHECKPOINT]:
        raise InputError(f"checkpoint.{unknown[0]} is unknown; there are {', '.join(_CHECKPOINT)}")
    endpoints = [_endpoint(one, "endpoints") for one in parsed.get("endpoints", [])]
    adviser = _endpoint(parsed["adviser"], "adviser") if "adviser" in parsed else None
    plan = Plan(**parsed | {"endpoints": endpoints, "adviser": adviser})
    for protocol in plan.protocols:
        if protocol not in PROTOCOLS:
            check_protocol(protocol, 1, 0.0)
        for rounds in plan.rounds_of(protocol):
            check_protocol(protocol, rounds, plan.settings(protocol).temperature)
        if PROTOCOLS[protocol].advised and adviser is None:
            raise InputError(f"protocol {protocol} needs an [adviser]")
        if PROTOCOLS[protocol].budgeted and plan.budget_protocol not in plan.protocols:
            raise InputError(f"protocol {protocol} needs {plan.budget_protocol} beside it")
    return plan


def _endpoint(row: Any, place: str) -> EndpointModel:
    if not isinstance(row, dict) or set(row) != {"url", "model"}:
        raise InputError(f"{place} must have url and model")
    return EndpointModel(**row)

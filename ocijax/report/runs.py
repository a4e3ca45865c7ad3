"""Run folders, found and read; see `ocijax.evaluate.store` for what they hold."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.evaluate.store import Row, identity, read_log

_NUMBERED = re.compile(r"([^0-9]*)([0-9]*)")
_OPTIONAL = type(None)
_PART = re.compile(r"([0-9]+) of ([0-9]+)")
_OF_A_PART = {"part", "tasks", "task_ids", "budget"}
_SETTINGS = {"benchmark": str, "version": str, "tasks": int, "protocol": str, "model": str}
_SETTINGS_IF_THERE = {
    "rounds": int,
    "samples": int,
    "sampling": dict,
    "prompts": dict,
    "sanitizer": str,
    "evaluator": str,
    "oracle_tests": str,
    "part": str,
}
_ROW = {
    "task_id": str,
    "sample": int,
    "passed_base": bool,
    "passed_plus": (bool, _OPTIONAL),
    "program": str,
    "rounds": int,
    "generated_tokens": int,
}
_ATTEMPT = {
    "reply": str,
    "program": (str, _OPTIONAL),
    "passed": bool,
    "feedback": str,
    "generated_tokens": int,
    "finish_reason": str,
}
_ATTEMPT_IF_THERE = {"status": str, "afresh": bool}
_TIMES = {"began": (int, float), "ended": (int, float)}
_MESSAGE = {"role": str, "content": str}

_REMEDY = "leave the folder out of --runs"

_DEFAULTS = {"prompts": "turns", "sanitizer": "fenced", "evaluator": "ocijax"}


@dataclass(frozen=True)
class Run:
    """One run of `eval.run`, or of a sweep.

    Attributes:
      name: its folder, as short as tells it from the others.
      settings: what made it; may have more than is known here.
      rows: a result for each task and sample, ordered by these.
      finished: whether there are all of them.
      seconds: in which at least one answer was being generated; ``None`` where that is not known.
    """

    name: str
    settings: Mapping[str, Any]
    rows: Sequence[Row] = field(repr=False)
    finished: bool = True
    seconds: float | None = None

    @property
    def label(self) -> str:
        """The name, and that it is not finished where it is not."""
        return self.name if self.finished else f"{self.name} (unfinished)"

    @property
    def benchmark(self) -> tuple[str, str]:
        """Name and digest of the benchmark."""
        return self.settings["benchmark"], self.settings["version"]

    @property
    def protocol(self) -> str:
        """As `ocijax.evaluate.protocols` names it."""
        return self.settings["protocol"]

    @property
    def model(self) -> str:
        """What answered."""
        return self.settings["model"]

    @property
    def rounds(self) -> int:
        """Most answers for a task."""
        return self.settings.get("rounds", 1)

    @property
    def samples(self) -> int:
        """Trajectories for each task; of judged samples, the most that a task has."""
        return self.settings.get("samples") or max(map(len, self.results.values()), default=1)

    @property
    def options(self) -> str:
        """How it answered, as far as that is not the default: ``2 rounds, temperature 0.8``."""
        sampling = self.settings.get("sampling", {})
        said = [f"{self.rounds} rounds"] if self.rounds > 1 else []
        said += [f"{self.samples} samples"] if self.samples > 1 else []
        defaults = {"temperature": 0, "top_p": 1, "top_k": 0, "seed": 0}
        said += [
            f"{name} {sampling[name]}"
            for name, default in defaults.items()
            if sampling.get(name, default) != default
        ]
        named = self.settings | {"prompts": self.settings.get("prompts", {}).get("name", "turns")}
        said += [
            f"{name} {named[name]}"
            for name, default in _DEFAULTS.items()
            if named.get(name, default) != default
        ]
        said += ["oracle tests base"] if self.settings.get("oracle_tests") == "base" else []
        return ", ".join(said)

    @property
    def method(self) -> Mapping[str, Any]:
        """What scores depend on beside model, benchmark, protocol, rounds and samples, by name.

        Prompts are known by their content. What does not apply to the run, or is not known of it,
        is ``None``.
        """
        prompts = self.settings.get("prompts", {})
        return {
            "sampling": self.settings.get("sampling"),
            "prompts": prompts.get("sha256", prompts.get("name")),
            "oracle_tests": self.settings.get("oracle_tests"),
            "sanitizer": self.settings.get("sanitizer", _DEFAULTS["sanitizer"]),
            "evaluator": self.settings.get("evaluator", _DEFAULTS["evaluator"]),
            "adviser": self.settings.get("adviser"),
        }

    @property
    def shown_tests(self) -> str:
        """The tests that end a task, and that its model may be shown."""
        oracle = {"base": "base tests", "plus": "base and plus tests"}
        return oracle.get(self.settings.get("oracle_tests", ""), "public tests")

    @cached_property
    def results(self) -> Mapping[str, Sequence[Row]]:
        """The rows of each task by its id."""
        results = defaultdict(list)
        for row in self.rows:
            results[row["task_id"]].append(row)
        return results

    @property
    def progress(self) -> str:
        """How much of it there is, as ``87 of 164 tasks``."""
        wanted, samples = self.settings["tasks"], self.settings.get("samples", 1)
        if samples == 1:
            return f"{len(self.results):,} of {wanted:,} tasks"
        return f"{len(self.rows):,} of {wanted * samples:,} samples"

    @cached_property
    def suites(self) -> Mapping[str, str]:
        """Fields of rows that have a verdict, by the name of what was tested."""
        name = self.settings["benchmark"]
        plus = any(row["passed_plus"] is not None for row in self.rows)
        return {name: "passed_base"} | ({f"{name}+": "passed_plus"} if plus else {})


def find_runs(places: Sequence[str | Path]) -> list[Run]:
    """Every run in and beneath some folders, each once, in the order of folders and names.

    Raises:
      InputError: a folder is not there or has no run, a run's file is damaged, or a part of a run
        is there twice.
    """
    folders: dict[Path, Path] = {}
    for place in map(Path, places):
        if not place.is_dir():
            raise InputError(f"--runs={place}: no such folder")
        found = sorted(
            path.parent
            for path in place.rglob("settings.json")
            if path.with_name("results.jsonl").exists()
        )
        if not found:
            raise InputError(
                f"--runs={place}: no run is beneath it; give the --workdir of an eval.run, or a "
                "folder above some"
            )
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    names = short_names([str(folder) for folder in folders])
    return _joined(
        [(folder, _read(folder, names[str(place)])) for place, folder in folders.items()]
    )


def _joined(runs: Sequence[tuple[Path, Run]]) -> list[Run]:
    """The same, but the parts that hosts had of one run's tasks as one."""
    groups: dict[str, dict[int, tuple[Path, Run]]] = {}
    for place, (folder, run) in enumerate(runs):
        host, key = 0, str(place)
        if "part" in run.settings:
            host, hosts = _part(run.settings["part"])
            key = json.dumps([hosts, _alike(run.settings)], sort_keys=True)
        same, _ = groups.setdefault(key, {}).setdefault(host, (folder, run))
        if same != folder:
            raise InputError(
                f"--runs: {same} and {folder} are both part {run.settings['part']} of one run; "
                "leave one of them out"
            )
    return [_whole(list(parts.values())) for parts in groups.values()]


def _alike(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What all parts of a run have in common."""
    made_by = identity(settings)
    return {name: value for name, value in made_by.items() if name not in _OF_A_PART}


def _part(text: str) -> tuple[int, int]:
    """Number of the host and how many there are, as ``0 of 2`` says."""
    found = _PART.fullmatch(text)
    if found is None or int(found[1]) >= int(found[2]):
        raise InputError(f"part: {text!r:.40} is no part of a run, like 0 of 2")
    return int(found[1]), int(found[2])


def _whole(parts: Sequence[tuple[Path, Run]]) -> Run:
    first, runs = parts[0][1], [run for _, run in parts]
    if "part" not in first.settings:
        return first
    results: dict[tuple[str, int], tuple[Path, Row]] = {}
    for folder, run in parts:
        for row in run.rows:
            same, _ = results.setdefault((row["task_id"], row["sample"]), (folder, row))
            if same != folder:
                raise InputError(
                    f"--runs: {same} and {folder} are parts of one run and both have a result of "
                    f"{row['task_id']}#{row['sample']}; leave one of them out"
                )
    # Hosts take tasks in turn, so that a part tells how many there are at least, and all of them
    # how many there are.
    sizes = [(*_part(run.settings["part"]), run.settings["tasks"]) for run in runs]
    tasks = max((size - 1) * hosts + host + 1 for host, hosts, size in sizes)
    missed = len(runs) < sizes[0][1] or tasks != sum(size for _, _, size in sizes)
    seconds = [run.seconds for run in runs]
    return replace(
        first,
        settings={**first.settings, "tasks": tasks},
        rows=_ordered(row for _, row in results.values()),
        finished=not missed and all(run.finished for run in runs),
        # Of all hosts together.
        seconds=None if None in seconds else sum(seconds),
    )


def short_names(names: Iterable[str], least: int = 1) -> dict[str, str]:
    """Each path without the leading parts that all of them share; the last ``least`` always stay.

    Addresses stay whole.
    """
    whole = list(names)
    parts = {name: name.split("/") for name in whole if "://" not in name}
    shared = 0
    for column in zip(*(one[:-1] for one in parts.values()), strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    short = {}
    for name, one in parts.items():
        short[name] = "/".join(one[min(shared, max(0, len(one) - least)) :])
    return {name: short.get(name, name) for name in whole}


def short_models(runs: Sequence[Run]) -> dict[str, str]:
    """What the runs' models are called, as short as tells what they are."""
    # A checkpoint's folder is named for its step; what was trained is named above it.
    return short_names((run.model for run in runs), least=3)


def _read(folder: Path, name: str) -> Run:
    path = folder / "settings.json"
    try:
        settings = json.loads(path.read_bytes())
        _check(settings, _SETTINGS)
        _check(settings, _those_there(_SETTINGS_IF_THERE, settings))
        if "part" in settings:
            _part(settings["part"])
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: {error}; {_REMEDY}") from error
    rows = _rows(folder / "results.jsonl")
    summed_up = (folder / "summary.json").exists()
    wanted = settings["tasks"] * settings.get("samples", 1)
    # How many samples a file has for the tasks is known only when all are judged.
    finished = summed_up and ("programs" in settings or len(rows) == wanted)
    seconds = _seconds(folder / "answers.jsonl") if finished else None
    return Run(name, settings, rows, finished, seconds)


def _rows(path: Path) -> list[Row]:
    rows = read_log(path)
    known = set()
    for number, row in enumerate(rows, start=1):
        try:
            _check(row, _ROW)
            for attempt in _list(row, "attempts"):
                _check(attempt, _ATTEMPT)
                _check(attempt, _those_there(_ATTEMPT_IF_THERE, attempt))
            if "conversation" in row:
                _check(row["conversation"], {"messages": list})
                for message in row["conversation"]["messages"]:
                    _check(message, _MESSAGE)
            if (row["task_id"], row["sample"]) in known:
                raise InputError(f"a second result of {row['task_id']}#{row['sample']}")
        except InputError as error:
            raise InputError(f"{path}:{number}: damaged: {error}; {_REMEDY}") from error
        known.add((row["task_id"], row["sample"]))
    return _ordered(rows)


def _ordered(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (_natural(row["task_id"]), row["sample"]))


def _natural(text: str) -> list[tuple[str, int]]:
    """Sorts texts as people do: by the numbers in them."""
    return [(word, int(digits or 0)) for word, digits in _NUMBERED.findall(text)]


def _list(row: Row, name: str) -> list:
    if not isinstance(row.get(name, []), list):
        raise InputError(f"{name}: not a list")
    return row.get(name, [])


def _check(row: Any, fields: Mapping[str, Any]) -> None:
    """Refuses what is not an object with these fields."""
    if not isinstance(row, dict):
        raise InputError("not an object")
    for name, kind in fields.items():
        if name not in row:
            raise InputError(f"{name} is missing")
        if not isinstance(row[name], kind) or (kind is int and isinstance(row[name], bool)):
            raise InputError(f"{name}: {row[name]!r:.40} is of the wrong type")


def _those_there(fields: Mapping[str, Any], row: Row) -> dict[str, Any]:
    return {name: kind for name, kind in fields.items() if name in row}


def _seconds(path: Path) -> float | None:
    """How long the union of the answers' times is: while a run was dead nothing was generated."""
    if not path.exists():
        return None
    rows = read_log(path)
    if not rows or any(isinstance(row, dict) and _TIMES.keys() - row.keys() for row in rows):
        return None
    for number, row in enumerate(rows, start=1):
        try:
            _check(row, _TIMES)
        except InputError as error:
            raise InputError(f"{path}:{number}: damaged: {error}; {_REMEDY}") from error
    total, until = 0.0, float("-inf")
    for began, ended in sorted((row["began"], row["ended"]) for row in rows):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total

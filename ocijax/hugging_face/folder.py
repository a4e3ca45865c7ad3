"""A Hugging Face folder but for its tensors: config, tokenizer, generation config, chat template.

What we have no use for ourselves, such as the tokenizer's settings in transformers, is kept as it
is and written again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ocijax.errors import InputError
from ocijax.hugging_face.config import read_config, write_config
from ocijax.hugging_face.tensors import parse_json, read_bytes, read_json
from ocijax.hugging_face.tokenizer_json import tokenizer_json
from ocijax.model.config import ModelConfig
from ocijax.model.description import ModelDescription
from ocijax.template import TEMPLATES, chat_template, get_template
from ocijax.tokenizer import check_vocabulary, load_tokenizer, tokenizer_file

CONFIG = "config.json"
GENERATION = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER_CONFIG = "tokenizer_config.json"

_TOKENIZER = (
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
KEPT = (CONFIG, GENERATION, CHAT_TEMPLATE, *_TOKENIZER)
"""Names of the files that travel with a model."""


def is_hugging_face(folder: str | Path) -> bool:
    """Whether a folder has a ``config.json`` that names an architecture; a workdir's does not."""
    path = Path(folder) / CONFIG
    return path.is_file() and bool({"architectures", "model_type"} & read_json(path).keys())


def read_model_config(folder: str | Path) -> ModelConfig:
    """The shape of the model in a folder.

    Raises:
      InputError: there is no ``config.json``, or see `ocijax.hugging_face.config.read_config`.
    """
    path = Path(folder) / CONFIG
    return read_config(read_json(path), str(path))


def read_folder(folder: str | Path, template: str = "") -> ModelDescription:
    """Everything but the tensors.

    Args:
      folder: as transformers writes it.
      template: name of the chat template; by default the one of ours whose Jinja text the folder
        has, as in folders that we wrote.

    Raises:
      InputError: a file is missing or cannot be understood; the tokenizer fits neither model nor
        template; or the folder's template is none of ours and ``template`` is empty.
    """
    folder = Path(folder)
    config, files = read_model_config(folder), kept_files(folder)
    tokenizer = load_tokenizer(folder)
    check_vocabulary(tokenizer, config.vocab_size)
    template = template or _recognise(files, folder)
    get_template(template).special_ids(tokenizer)
    return ModelDescription(config, tokenizer_file(folder), template, files)


def write_folder(folder: str | Path, description: ModelDescription, dtype: Any) -> None:
    """Writes what `read_folder` reads, for transformers to load; tensors are `save_weights`'s.

    Files that came along are written as they are, where they still say what is so.

    Args:
      folder: there already.
      description: of the model.
      dtype: of its tensors.

    Raises:
      InputError: no architecture of transformers is this model, or the tokenizer cannot be read.
    """
    folder = Path(folder)
    files = dict(description.files)
    source = tokenizer_file(description.tokenizer)
    name = "tokenizer.json" if source.suffix == ".json" else "tokenizer.model"
    files[name] = source.read_bytes()
    if name == "tokenizer.model" and (converted := tokenizer_json(files[name])):
        files["tokenizer.json"] = converted
    tokenizer = load_tokenizer(description.tokenizer)
    template = get_template(description.template)
    begin = template.begin_of_sequence and tokenizer.special_id(template.begin_of_sequence)
    end = tokenizer.special_id(template.end_of_turn)
    ids = {"eos_token_id": end} | ({"bos_token_id": begin} if begin != "" else {})
    if _jinja(files) is None:
        # It was trained with our template, so its answers end as that has them end.
        files[CHAT_TEMPLATE] = chat_template(template).encode()
        generation = json.loads(files.get(GENERATION, b"{}"))
        # Said of one that only repeats config.json; transformers would make it anew from that.
        generation.pop("_from_model_config", None)
        before = generation.get("eos_token_id")
        before = before if isinstance(before, list) else [before]
        ends = dict.fromkeys([end, *(index for index in before if isinstance(index, int))])
        generation = {**ids, **generation, "eos_token_id": [*ends]}
        files[GENERATION] = _text(generation)
    files.setdefault(GENERATION, _text(ids))
    if TOKENIZER_CONFIG not in files:
        kind = "PreTrainedTokenizerFast" if "tokenizer.json" in files else "LlamaTokenizer"
        settings = {
            "tokenizer_class": kind,
            "eos_token": template.end_of_turn,
            "model_max_length": description.config.max_position_embeddings,
            "clean_up_tokenization_spaces": False,
        }
        if template.begin_of_sequence:
            settings["bos_token"] = template.begin_of_sequence
        files[TOKENIZER_CONFIG] = _text(settings)
    files[CONFIG] = _config(description.config, files.get(CONFIG), ids, np.dtype(dtype).name)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def kept_files(folder: str | Path) -> dict[str, bytes]:
    """The files of a folder that travel with a model, but for the one that is its tokenizer.

    Raises:
      InputError: one cannot be read, or is no JSON or UTF-8 where it has to be.
    """
    folder = Path(folder)
    ours = tokenizer_file(folder).name
    found = [folder / name for name in KEPT if name != ours]
    files = {path.name: read_bytes(path) for path in found if path.is_file()}
    for name, content in files.items():
        if name.endswith(".json"):
            parse_json(content, folder / name)
    try:
        files.get(CHAT_TEMPLATE, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{folder / CHAT_TEMPLATE}: not UTF-8: {error.reason}") from error
    return files


def without_template(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files without the chat template, wherever it stands: training chooses its own."""
    files = {name: content for name, content in files.items() if name != CHAT_TEMPLATE}
    settings = json.loads(files.get(TOKENIZER_CONFIG, b"{}"))
    if settings.pop("chat_template", None) is not None:
        files[TOKENIZER_CONFIG] = _text(settings)
    return files


def without_tokenizer(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files without those that belong to one tokenizer, its tokens' ids included."""
    return {
        name: content for name, content in files.items() if name not in (*_TOKENIZER, GENERATION)
    }


def _config(
    config: ModelConfig, original: bytes | None, ids: Mapping[str, int], dtype: str
) -> bytes:
    """The ``config.json``: the one that came along, if the model is still as that says."""
    if original is not None:
        file = json.loads(original)
        if read_config(file) == config:
            key = "dtype" if "dtype" in file else "torch_dtype"
            return original if file.get(key) == dtype else _text({**file, key: dtype})
    return _text({**write_config(config), **ids, "torch_dtype": dtype})


def _recognise(files: Mapping[str, bytes], folder: Path) -> str:
    found = _jinja(files)
    for name, template in TEMPLATES.items():
        if found == chat_template(template):
            return name
    said = "has no chat template" if found is None else "its chat template is none of ours"
    raise InputError(f"{folder}: {said}; name one by --template: {', '.join(TEMPLATES)}")


def _jinja(files: Mapping[str, bytes]) -> Any:
    """The chat template among the files: a text, or several with names, or ``None``."""
    if CHAT_TEMPLATE in files:
        return files[CHAT_TEMPLATE].decode()
    return json.loads(files.get(TOKENIZER_CONFIG, b"{}")).get("chat_template")


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()

import json
import re

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from ocijax.errors import InputError
from ocijax.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer

# U+2581 is how sentencepiece writes a space; planes that Unicode leaves empty begin with bytes
# that some byte-level vocabularies lack.
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0x3FFFF, exclude_characters=["\u2581"]))
LLAMA_KINDS = ("prepend", "metaspace")


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_file):
    return load_tokenizer(tiny_tokenizer_file)


@pytest.fixture(scope="module")
def recovered(data_dir):
    folder = data_dir / "tokenizers"
    return {
        "llama-spm": load_tokenizer(folder / "llama2"),
        "deepseek-coder": load_tokenizer(folder / "recovered/deepseek-coder.tokenizer.json"),
        "starcoder": load_tokenizer(folder / "recovered/starcoder2.tokenizer.json"),
    }


def llama_config(kind: str) -> dict:
    """A tokenizer.json of the Llama kind: BPE over ▁, byte fallback, a space put before a text."""
    letters = ["▁", "H", "e", "l", "o", "\n"]
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters]
    vocabulary += ["He", "ll", "▁He"]
    model = tokenizers.models.BPE(
        vocab={piece: index for index, piece in enumerate(vocabulary)},
        merges=[("H", "e"), ("l", "l"), ("▁", "He")],
        byte_fallback=True,
        unk_token="<unk>",
    )
    config = json.loads(tokenizers.Tokenizer(model).to_str())
    config["added_tokens"] = [
        {
            "id": index,
            "content": vocabulary[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index in range(3)
    ]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    replace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    if kind == "prepend":
        config["normalizer"] = {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        }
    else:
        config["pre_tokenizer"] = {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "always",
            "split": False,
        }
    config["decoder"] = {
        "type": "Sequence",
        "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip],
    }
    return config


@pytest.mark.parametrize("name", ["llama-spm", "deepseek-coder", "starcoder"])
def test_gives_the_ids_that_llama_cpp_expects(recovered, data_dir, name):
    tokenizer = recovered[name]
    vectors = data_dir / "tokenizers/test-vectors"
    with open(vectors / f"ggml-vocab-{name}.gguf.inp", encoding="utf-8", newline="") as file:
        texts = file.read().split("\n__ggml_vocab_test__\n")
    lines = (vectors / f"ggml-vocab-{name}.gguf.out").read_text().split("\n")
    expected = [[int(token) for token in line.split()] for line in lines[: len(texts)]]
    # llama.cpp puts the prefix before every text that is not empty.
    prefixed = [tokenizer.text_prefix + text if text else text for text in texts]
    assert [tokenizer.encode(text) for text in prefixed] == expected
    assert len(texts) == 47


@pytest.mark.parametrize("name", ["llama-spm", "deepseek-coder", "starcoder"])
def test_what_real_vocabularies_encode_decodes_to_the_same_text(recovered, name):
    tokenizer = recovered[name]

    @given(TEXT)
    def round_trip(text):
        assert tokenizer.decode(tokenizer.encode(text)) == text

    round_trip()


@pytest.mark.parametrize("name", ["llama-spm", "deepseek-coder", "starcoder"])
def test_python_files_come_back(recovered, data_dir, name):
    tokenizer = recovered[name]
    path = data_dir / "python-corpus/thealgorithms/python_files.jsonl"
    files = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(files) > 1000
    changed = [
        file["path"]
        for file in files
        if tokenizer.decode(tokenizer.encode(file["text"])) != file["text"]
    ]
    assert not changed


def test_what_a_small_vocabulary_encodes_decodes_to_the_same_text(tiny):
    @given(TEXT)
    def round_trip(text):
        assert tiny.decode(tiny.encode(text)) == text

    round_trip()


def test_pieces_encoded_apart_decode_to_their_joined_text(tiny):
    @given(st.lists(TEXT))
    def round_trip(pieces):
        ids = [token for piece in pieces for token in tiny.encode(piece)]
        assert tiny.decode(ids) == "".join(pieces)

    round_trip()


def test_a_llama_vocabulary_is_encoded_without_the_space_it_was_trained_to_see_first(recovered):
    tokenizer = recovered["llama-spm"]
    assert tokenizer.text_prefix == " "
    assert tokenizer.encode(" Hello") == [15043]
    assert tokenizer.encode("Hello") == [10994]


@pytest.mark.parametrize("kind", LLAMA_KINDS)
def test_a_llama_tokenizer_json_is_encoded_without_that_space_too(kind):
    tokenizer = HuggingFaceTokenizer(llama_config(kind), "tokenizer.json")
    assert tokenizer.text_prefix == " "
    assert tokenizer.encode(" Hello") == [267, 266, 263]
    assert tokenizer.encode("Hello") == [265, 266, 263]


@pytest.mark.parametrize("kind", LLAMA_KINDS)
def test_a_llama_tokenizer_json_decodes_leading_spaces(kind):
    tokenizer = HuggingFaceTokenizer(llama_config(kind), "tokenizer.json")
    for text in ("Hello", " Hello", "  Hello\n", "ü"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_byte_level_vocabulary_has_no_prefix(recovered):
    assert recovered["deepseek-coder"].text_prefix == ""


@pytest.mark.parametrize("token", ["<s>", "</s>", "<|EOT|>", "<|marker|>"])
def test_a_special_token_spelled_in_text_stays_text(tiny, token):
    ids = tiny.encode(f"a{token}b")
    assert tiny.special_id(token) not in ids
    assert tiny.decode(ids) == f"a{token}b"


@pytest.mark.parametrize(
    "token",
    [
        "<|EOT|>",
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
        "<\uff5cfim\u2581hole\uff5c>",
        "<|User|>",
    ],
)
def test_a_tokenizer_json_keeps_special_spellings_as_text_whether_flagged_or_not(recovered, token):
    tokenizer = recovered["deepseek-coder"]
    ids = tokenizer.encode(f"a{token}b")
    assert tokenizer.special_id(token) is not None
    assert tokenizer.special_id(token) not in ids
    assert tokenizer.decode(ids) == f"a{token}b"


def test_a_special_token_spelled_with_spaces_stays_text(tiny):
    ids = tiny.encode("<|two words|>")
    assert tiny.special_id("<|two▁words|>") not in ids
    assert tiny.decode(ids) == "<|two words|>"


def test_ordinary_added_tokens_are_found_in_text(recovered):
    tokenizer = recovered["deepseek-coder"]
    assert tokenizer.encode("ü") == [32009]
    assert tokenizer.decode(tokenizer.encode("für")) == "für"


def test_ordinary_user_defined_symbols_are_found_in_text(tiny):
    assert len(tiny.encode("    ")) == 1


def test_special_ids_are_found_by_spelling(recovered):
    assert recovered["deepseek-coder"].special_id("<|EOT|>") == 32021
    assert recovered["llama-spm"].special_id("</s>") == 2
    assert recovered["llama-spm"].special_id("<|EOT|>") is None
    assert recovered["llama-spm"].special_id("▁the") is None


def test_decoding_leaves_special_tokens_out(recovered):
    tokenizer = recovered["deepseek-coder"]
    assert tokenizer.decode([32013, *tokenizer.encode("hi"), 32021]) == "hi"
    assert recovered["llama-spm"].decode([1, 15043, 2]) == " Hello"


def test_decoding_leaves_ids_of_a_padded_vocabulary_out(recovered):
    for tokenizer in recovered.values():
        ids = [*tokenizer.encode("hi"), tokenizer.vocab_size, tokenizer.vocab_size + 7]
        assert tokenizer.decode(ids) == "hi"


def test_ids_run_below_the_vocabulary_size(recovered):
    sizes = {name: tokenizer.vocab_size for name, tokenizer in recovered.items()}
    assert sizes == {"llama-spm": 32000, "deepseek-coder": 32022, "starcoder": 49152}


def test_half_a_character_decodes_to_the_replacement_character(recovered):
    for tokenizer in recovered.values():
        ids = tokenizer.encode("\N{OGHAM LETTER BEITH}")
        assert len(ids) > 1
        assert tokenizer.decode(ids[:-1]).startswith("\N{REPLACEMENT CHARACTER}")


def test_a_folder_with_both_files_gives_its_tokenizer_json(tiny_sentencepiece, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(tiny_sentencepiece)
    assert isinstance(load_tokenizer(tmp_path), SentencePieceTokenizer)
    (tmp_path / "tokenizer.json").write_text(json.dumps(llama_config("prepend")))
    assert isinstance(load_tokenizer(tmp_path), HuggingFaceTokenizer)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tokenizer.model", b"junk", "not a sentencepiece model"),
        ("tokenizer.model", b"", "not a sentencepiece model"),
        ("tokenizer.json", b"{", "not JSON"),
        ("tokenizer.json", b"[]", "not a tokenizer.json"),
        ("tokenizer.json", b"{}", "not a tokenizer.json"),
        ("tokenizer.json", b'{"added_tokens": [{}]}', "not a tokenizer.json"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, name, content, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{problem}"):
        load_tokenizer(path)


def test_a_missing_file_and_a_folder_without_tokenizer_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json: cannot read"):
        load_tokenizer(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="holds neither"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_that_rewrites_text_is_refused(tiny_sentencepiece):
    model = sentencepiece_model_pb2.ModelProto.FromString(tiny_sentencepiece)
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = b"rules"
    with pytest.raises(InputError, match=r"m: .*'nmt_nfkc' rewrites text.*identity"):
        SentencePieceTokenizer(model.SerializeToString(), "m")

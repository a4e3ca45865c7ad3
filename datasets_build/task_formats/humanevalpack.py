"""HumanEvalPack (OctoPack, arXiv 2308.07124): HumanEval in six languages.

A row has ``task_id`` (``JavaScript/0``), ``prompt``, ``declaration``, ``canonical_solution``,
``buggy_solution``, ``test``, ``entry_point``, ``instruction`` and mostly ``example_test``, which is
public; of Go also ``import`` and ``test_setup``.

A program is the answer and the row's test. Where that needs another runner than the language's
own, the test is given a main function: of Rust, where it is a module for ``cargo test``; of Go,
where it is a function for ``go test`` and testify's ``assert.Equal``. JavaScript's
``console.assert``, which only prints, is made to throw. Rows that need packages which are not part
of their language are refused.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

from datasets_build.task_formats.optional import optional_text
from ocijax.errors import InputError
from ocijax.judge.fields import field
from ocijax.judge.task import CodeTest, Suite, Task
from ocijax.sandbox.languages import title

LANGUAGES = {
    "Python": "python",
    "JavaScript": "javascript",
    "Java": "java",
    "Go": "go",
    "CPP": "c++",
    "Rust": "rust",
}
"""Languages of the sandbox, by what a ``task_id`` begins with."""

_ASK = (
    "\n\nBegin with this, and answer with the whole program{} in one {} code block:"
    "\n\n```{}\n{}\n```"
)
_WITHOUT_MAIN = ", but without a main function,"
_HEADS = {
    "c++": re.compile(r"^[ \t]*(?:#include.*|using namespace std;)$", re.MULTILINE),
    "java": re.compile(r"^import .*;$", re.MULTILINE),
    "python": re.compile(r"^(?:import|from) .*$", re.MULTILINE),
}

_PACKAGES = {
    "c++": re.compile(r"#include\s*<((?:boost|openssl)/.*)>"),
    "javascript": re.compile(r"""\brequire\(['"](js-md5)['"]\)"""),
    "rust": re.compile(r"\b(rand|regex|md5)::|\b(Regex)\b"),
}
"""What is in no standard library."""

_USES_OF_CRATES = re.compile(r"^use (?:rand::Rng|regex::Regex|md5);\n", re.MULTILINE)
_RUST_MAIN = re.compile(r"^fn main\(\)\s*\{\s*\}\n", re.MULTILINE)
_RUST_TEST = re.compile(r"#\[test\]\s*fn[ \t]+(\w+)")

_GO_TEST = re.compile(r"^func[ \t]+(Test\w*)\(t \*testing\.T\)", re.MULTILINE)
_GO_ASSERT = re.compile(r"\bassert\.(?!New\b|Equal\b)(\w+)")
_TESTIFY = re.compile(r'^\s*"github\.com/stretchr/testify/assert"\n', re.MULTILINE)
_IMPORT = re.compile(r"^import[ \t]*(?:\([^)]*\)|[^\n(]+)\n", re.MULTILINE)
_OFTEN = ("math", "sort", "strconv", "strings")
_ASSERTING = """
import (
    "fmt"
    "os"
    "reflect"
)

type asserting struct{}

var assert asserting

func (asserting) New(t *testing.T) asserting { return asserting{} }

func (asserting) Equal(expected, actual interface{}, words ...interface{}) bool {
    if !reflect.DeepEqual(expected, actual) {
        fmt.Fprintf(os.Stderr, "Not equal:\\nexpected: %#v\\nactual:   %#v\\n", expected, actual)
        os.Exit(1)
    }
    return true
}

"""


def humanevalpack_task(row: dict[str, Any]) -> Task:
    """The task of one row.

    Raises:
      InputError: a field is missing or of the wrong type, the language is unknown, or packages are
        needed.
    """
    task_id, prompt, declaration, solution, test, entry_point, instruction = (
        field(row, "its", name, str)
        for name in (
            *("task_id", "prompt", "declaration", "canonical_solution", "test"),
            *("entry_point", "instruction"),
        )
    )
    prefix = task_id.partition("/")[0]
    if prefix not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise InputError(f"task_id {task_id!r}: its language is none of {known}")
    language = LANGUAGES[prefix]
    if language == "rust":
        prompt, declaration = (
            _RUST_MAIN.sub("", _USES_OF_CRATES.sub("", text)) for text in (prompt, declaration)
        )
    head = ""
    if language == "go":  # its declaration has neither imports nor helping functions
        declaration = _IMPORT.sub("", prompt).lstrip()
        head = _go_head(row, declaration + solution)
    packages = _PACKAGES.get(language)
    if packages and (needed := packages.search(declaration + solution + test)):
        raise InputError(f"{task_id}: needs the package {' '.join(filter(None, needed.groups()))}")
    shown = optional_text(row, "example_test")
    make = _TESTS.get(language, lambda row, code: code)
    examples = (CodeTest(make(row, shown)),) if _is_test(language, shown) else ()
    metadata = {"solution": head + declaration + solution}
    if buggy := optional_text(row, "buggy_solution"):
        metadata["buggy"] = head + declaration + buggy
    main = _WITHOUT_MAIN if language in ("c++", "go", "java", "rust") else ""
    mark = "cpp" if language == "c++" else language
    return Task(
        task_id=task_id,
        instruction=instruction.strip()
        + _ASK.format(main, title(language), mark, declaration.strip()),
        entry_point=entry_point,
        prompt=prompt,
        public_tests=examples,
        suites={"base": Suite((CodeTest(make(row, test)),))},
        metadata=metadata,
        language=language,
        preamble=_preamble(language, declaration),
    )


def _is_test(language: str, text: str) -> bool:
    """Whether an example can be one: some rows have none, and one has broken Python."""
    if text.strip() in ("", "None"):
        return False
    try:
        return language != "python" or bool(ast.parse(text))
    except SyntaxError:
        return False


def _preamble(language: str, declaration: str) -> str:
    """What the declaration includes or imports, where saying it twice does no harm."""
    return "\n".join(_HEADS[language].findall(declaration)) if language in _HEADS else ""


def _python(row: dict[str, Any], test: str) -> str:
    """Without the last line, which calls ``check``: the sandbox does."""
    return re.sub(r"^check\(\w+\)\s*\Z", "", test, flags=re.MULTILINE)


def _javascript(row: dict[str, Any], test: str) -> str:
    return f";console.assert = require('assert').ok\n{test}"


def _rust(row: dict[str, Any], test: str) -> str:
    calls = "".join(f"    tests::{name}();\n" for name in _RUST_TEST.findall(test))
    module = _RUST_TEST.sub(r"pub fn \1", test.replace("#[cfg(test)]", ""))
    return f"{module}\nfn main() {{\n{calls}}}\n"


def _go(row: dict[str, Any], test: str) -> str:
    if other := _GO_ASSERT.search(test):
        raise InputError(f"{row['task_id']}: needs testify's assert.{other[1]}")
    imports = _go_imports(_TESTIFY.sub("", field(row, "its", "test_setup", str)), test)
    calls = "".join(f"    {name}(new(testing.T))\n" for name in _GO_TEST.findall(test))
    return f"{imports}{_ASSERTING}{test}\nfunc main() {{\n{calls}}}\n"


def _go_head(row: dict[str, Any], code: str) -> str:
    """The head of a file with this code; rows forget imports."""
    known = "".join(f'"{path}"' for path in _OFTEN) + field(row, "its", "import", str, "")
    return f"package main\n\n{_go_imports(known, re.sub('//.*', '', code))}\n"


def _go_imports(text: str, code: str) -> str:
    """Imports of the paths that stand in a text: of those that the code uses, as Go wants it."""
    return "".join(
        f'import "{path}"\n'
        for path in dict.fromkeys(re.findall(r'"([\w/]+)"', text))
        if re.search(rf"\b{path.rpartition('/')[2]}\.", code)
    )


_TESTS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "python": _python,
    "javascript": _javascript,
    "rust": _rust,
    "go": _go,
}
"""``(row, test) -> code that goes on from an answer``, where the test is not that already."""

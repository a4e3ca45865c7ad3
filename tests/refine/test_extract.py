"""Finding the program in a reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.refine.extract import extract_code

PROGRAM = "def f(x):\n    return x\n"


def fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}```"


@pytest.mark.parametrize("language", ["python", "Python", "py", "python3", "", "python title=a.py"])
def test_a_fenced_block_is_the_program(language):
    assert extract_code(f"Here it is:\n\n{fenced(PROGRAM, language)}\nDone.") == PROGRAM


def test_the_last_block_counts():
    assert extract_code(f"{fenced('x = 1')}\nNo, rather\n{fenced(PROGRAM)}") == PROGRAM


@pytest.mark.parametrize("use", ["print(f(1))", "f(1)", "f (1)", "f == 3", "define f(x)"])
def test_an_example_of_use_after_the_program_is_passed_over(use):
    reply = f"{fenced(PROGRAM)}\nUse it so:\n{fenced(use)}"
    assert extract_code(reply, "f") == PROGRAM


def test_of_two_definitions_the_last_counts():
    better = PROGRAM.replace("x\n", "x + 1\n")
    assert extract_code(f"{fenced(PROGRAM)}\nor better\n{fenced(better)}", "f") == better


@pytest.mark.parametrize(
    "definition",
    [
        "def f(x): pass\n",
        "async def f(x): pass\n",
        "def f[T](x: T): pass\n",
        "class f: pass\n",
        "f = abs\n",
        "f: object = abs\n",
    ],
)
def test_a_function_may_be_defined_in_any_way(definition):
    assert extract_code(f"{fenced(definition)}{chr(10)}{fenced('g = 1')}", "f") == definition


def test_blocks_of_other_languages_are_passed_over():
    assert extract_code(f"{fenced(PROGRAM)}\n{fenced('pip install x', 'bash')}") == PROGRAM
    assert extract_code(fenced("int f(int x);", "c")) is None


def test_a_block_that_is_cut_off_ends_with_the_reply():
    assert extract_code("```python\ndef f(x):\n    return") == "def f(x):\n    return\n"


def test_a_block_that_was_never_closed_ends_where_the_next_begins():
    assert extract_code(f"```python\nx = 1\n{fenced(PROGRAM)}") == PROGRAM


def test_a_longer_fence_may_hold_a_shorter_one():
    code = f'"""\n{fenced("x")}\n"""\n'
    assert extract_code(f"````python\n{code}````") == code


def test_a_fence_in_a_docstring_does_not_end_the_block():
    code = 'def f(x):\n    """\n    ```\n    f(1)\n    ```\n    """\n'
    assert extract_code(fenced(code)) == code


def test_the_indentation_of_a_block_in_a_list_is_not_the_programs():
    reply = "1. So:\n   ```python\n   def f(x):\n       return x\n   ```\n"
    assert extract_code(reply) == PROGRAM


def test_tildes_fence_too():
    assert extract_code(f"~~~python\n{PROGRAM}~~~") == PROGRAM


def test_carriage_returns_do_not_hide_a_fence():
    assert extract_code("```python\r\nx = 1\r\n```\r\n").split() == ["x", "=", "1"]


def test_a_reply_that_is_python_is_the_program():
    assert extract_code(PROGRAM) == PROGRAM


@pytest.mark.parametrize(
    "reply",
    ["", "  \n", "I cannot do that.", fenced(""), "``` is a fence", "Use `f(x)` here", "x = \0"],
)
def test_a_reply_without_code_gives_none(reply):
    assert extract_code(reply) is None


@given(st.text(alphabet="`~ \n\tpython#x=1{}\r\0\udc80é", max_size=200), st.sampled_from(["", "x"]))
def test_any_reply_gives_code_or_none(reply, entry_point):
    code = extract_code(reply, entry_point)
    assert code is None or code.strip()


@pytest.mark.timeout(60)  # quadratic work would take hours
@pytest.mark.parametrize("piece", ["`", "```python\n", "~~~", " ", "\n", "a", "(", "- ", "def "])
def test_a_long_reply_takes_linear_work(piece):
    reply = "```" + piece * 1_000_000 + "`"
    assert len(extract_code(reply, "f") or "") <= len(reply) + 1


@pytest.mark.parametrize(
    ("language", "marks"),
    [
        ("bash", ["bash", "sh", "shell"]),
        ("c++", ["c++", "cpp", "C++"]),
        ("go", ["go", "golang"]),
        ("java", ["java"]),
        ("javascript", ["js", "javascript"]),
        ("rust", ["rust", "rs"]),
    ],
)
def test_blocks_of_the_wanted_language_count(language, marks):
    for mark in [*marks, ""]:
        block = fenced("wanted\n", mark)
        reply = f"{fenced(PROGRAM)}\n{block}" if mark else block
        assert extract_code(reply, "", language) == "wanted\n"
    assert extract_code(fenced(PROGRAM), "", language) is None
    assert extract_code(PROGRAM, "", language) is None


@pytest.mark.parametrize(
    ("language", "definition", "use"),
    [
        ("bash", "add() {\n  echo $(($1 + $2))\n}", "add 1 2"),
        ("bash", "function add() {\n  echo\n}", "x=$(add 1 2)"),
        ("c++", "vector<int> add(int a, int b) {", "int main() { cout << add(1, 2); }"),
        ("go", "func add(a, b int) int {", "fmt.Println(add(1, 2))"),
        ("java", "class add {", "return new add(1);"),
        ("java", "  public static int add(int a, int b) {", "int x = add(1, 2);"),
        ("javascript", "const add = (a, b) => a + b", "console.log(add(1, 2))"),
        ("javascript", "async function add(a, b) {", "add(1, 2)"),
        ("rust", "pub fn add<T>(a: T, b: T) -> T {", "let x = add(1, 2);"),
    ],
)
def test_of_several_blocks_the_one_that_defines_is_found(language, definition, use):
    reply = (
        f"{fenced(definition + chr(10), language)}\nUse it so:\n{fenced(use + chr(10), language)}"
    )
    assert extract_code(reply, "add", language) == definition + "\n"

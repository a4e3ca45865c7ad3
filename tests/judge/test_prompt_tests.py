import pytest

from ocijax.judge.evalplus import read_problems
from ocijax.judge.prompt_tests import prompt_tests


def found(prompt, entry_point="f"):
    return [(test.arguments, test.expected) for test in prompt_tests(prompt, entry_point)]


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (">>> f([1, 2], 'a b')\n    'c'", ([1, 2], "a b"), "c"),
        (">>> f('a\\nb') # note\n    'x\\ny'", ("a\nb",), "x\ny"),
        (">>> f(1) == (2, 'x')", (1,), (2, "x")),
        (">>> round(f([1, 2]), 2) # f(x) = 1 + 2x\n    -0.5", ([1, 2],), -0.5),
        ('f("abAB") => 131', ("abAB",), 131),
        ("f([3]) ==> True", ([3],), True),
        ("f([3]) ➞ None", ([3],), None),
        ("f(3) -> [11, 4]", (3,), [11, 4]),
        ("f(3) = -1", (3,), -1),
        ("f(3) returns 'ok' # because", (3,), "ok"),
        ("f(14,-15) should return 20.", (14, -15), 20),
        ('f({"a": 1, 8: "b"}) should return False.', ({"a": 1, 8: "b"},), False),
        ('f(15)   # returns "db1111db"', (15,), "db1111db"),
        ("f(\"example.txt\") # => 'Yes'", ("example.txt",), "Yes"),
        ("f([\n  [1,2],\n  [3]], 1) == [(0, 0)]", ([[1, 2], [3]], 1), [(0, 0)]),
        ("f(1, 4) => true", (1, 4), True),
        ("f(aabb) => False", ("aabb",), False),
        ('f("5 apples", 19) ->19 - 5 - 6 = 8', ("5 apples", 19), 8),
        ("f(')(') == '('", (")(",), "("),
        ("f() == 0", (), 0),
        ('For num = "AB" the output should be 1.', ("AB",), 1),
        (
            'For s = "a=b", c = "ae", the result should be (\'b\',False)',
            ("a=b", "ae"),
            ("b", False),
        ),
        ('For N = 10, the sum of digits is 1 the output should be "1".', (10,), "1"),
        ("Input: [4,2,3]\n  Output: [2, 1]\n  Explanation: 2 is", ([4, 2, 3],), [2, 1]),
        ("Input: arr = [-3, 4], k = 3\n  Output: [-4]", ([-3, 4], 3), [-4]),
        ("Input:\n grid : [[0],\n [1]]\n capacity : 2\n Output: 5", ([[0], [1]], 2), 5),
        ("assert f((1, 2), 3) == {'a': {1}}", ((1, 2), 3), {"a": {1}}),
        ("assert set(f([3, 4]))==set([4, 3])", ([3, 4],), [4, 3]),
        ("assert math.isclose(f(10), 2.5, rel_tol=0.001)", (10,), 2.5),
        ("assert f('annie')", ("annie",), True),
        ("assert not f(10)", (10,), False),
    ],
)
def test_a_form_is_read(text, arguments, expected):
    prompt = f'def f(x):\n    """Does it.\n\n    {text}\n    """\n'
    assert found(prompt) == [(arguments, expected)]


def test_several_examples_are_read_in_order_and_once():
    text = "f(1) == 2\nf(2) == 3\nf(1) == 2"
    assert found(text) == [((1,), 2), ((2,), 3)]


def test_several_blocks_are_read():
    text = "Input: 3\nOutput: (1, 2)\n\nExample 2:\nInput: 12\nOutput: (4, 6)"
    assert found(text) == [((3,), (1, 2)), ((12,), (4, 6))]


def test_calls_by_another_name_are_read_where_there_are_no_others():
    assert found("grade([4.0]) ==> ['A+']") == [(([4.0],), ["A+"])]
    assert found("grade([4.0]) ==> ['A+']\nf(1) == 2") == [((1,), 2)]


@pytest.mark.parametrize(
    "text",
    ["def f(a, b) -> int:", "Write f(x) that adds.", "f(x", "assert f(1) == g(2)", "f(1) == ]"],
)
def test_what_shows_no_value_is_passed_over(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("name", "file", "least"),
    [
        ("humaneval", "humanevalplus/HumanEvalPlus.jsonl.gz", 157),
        ("mbpp", "mbppplus/MbppPlus.jsonl.gz", 374),
    ],
)
def test_nearly_every_prompt_of_the_benchmarks_shows_a_test(data_dir, name, file, least):
    problems = read_problems(name, data_dir / file)
    assert sum(bool(prompt_tests(one.prompt, one.entry_point)) for one in problems) >= least

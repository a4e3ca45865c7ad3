"""Makes sanitized.json: what EvalPlus 0.3.1's sanitizers, new and old, make of replies.

Install EvalPlus as make_evalplus.py says.

    python -m tests.golden.make_sanitized

With the name of a JSON file of ``[reply, entry point]`` pairs it prints the programs instead.
"""

import json
import sys
import warnings
from pathlib import Path

from benchmarks.evalplus_peer import import_evalplus

F = "def f(x):\n    return x + 1\n"
HELPED = "import math\nfrom os import path\n\nLIMIT = 3\n\n\ndef g(y):\n    return y + LIMIT\n\n\n"
HELPED += "def unused(y):\n    return y\n\n\ndef f(x):\n    return g(x)\n"

REPLIES = [
    "",
    "   \n\n",
    "I cannot do that.",
    "I cannot do that.\n\nIt is too hard.",
    "x = 1",
    "import math",
    F,
    f"```python\n{F}```",
    f"```\n{F}```\n",
    f"Here is a solution:\n\n```python\n{F}```\n\nIt adds one to x.\nThat is all.",
    f"Here is a solution:\n{F}\nIt adds one to x.",
    f"First:\n```python\n{F}```\nbetter:\n```python\n{F.replace('1', '2')}```",
    f"```python\n{F}```\n\nUse it so:\n\n```python\nprint(f(1))\nprint(f(2))\nf(3)\n```",
    f"```python\nx = 1\ny = 2\nz = 3\nw = 4\n```\nand\n```python\n{F}```",
    f"```python\n{HELPED}```\n",
    HELPED,
    HELPED + "\n\nprint(f(1))\nassert f(1) == 4\nif __name__ == '__main__':\n    f(2)\n",
    # Cut off.
    "```python\n" + HELPED[:-7],
    HELPED[:-20],
    "```python\ndef f(x):\n    '''Adds one.\n\n    >>> f(1)",
    # Which definitions count.
    "def f(x):\n    print(x)\n\n\ndef g(x):\n    return f(x)\n",
    "def f(x):\n    def inner(y):\n        return y\n    inner(x)\n",
    "def f(x):\n    yield x\n\n\nf = list\n",
    "def f(x):\n    return 1\n\n\ndef f(x):\n    return 2\n",
    "f = abs\n\n\ndef f(x):\n    return 2\n",
    "class f:\n    def __init__(self, x):\n        self.x = x\n",
    "class A:\n    pass\n\n\nclass A:\n    y = 1\n\n\ndef f(x):\n    return A.y\n",
    "import functools\n\n\n@functools.cache\ndef g(x):\n    return x\n\n\ndef f(x):\n"
    "    return g(x)\n",
    "@print\ndef f(x):\n    return x\n",
    "async def g(x):\n    return x\n\n\ndef f(x):\n    return g(x)\n",
    "from __future__ import annotations\nimport os\n\n\ndef f(x: X):\n    return x\n",
    "try:\n    import numpy\nexcept ImportError:\n    numpy = None\n\n\ndef f(x):\n"
    "    return numpy\n",
    # What leads to which.
    "g, h = 1, 2\ni = j = 3\nk: int = 4\nl: int\nm += 1\n\n\ndef f(x):\n"
    "    return g + h + i + j + k + l\n",
    "A.b = c\nd[0] = e\n(p) = 3\n*q, r = s\n\n\ndef f(x):\n    return c + e + p + q + s\n",
    "a = 1\nb = 2\nc = 3\nd = 4\n\n\ndef f(x: a, y=b):\n    return f'{x}{c}' + x.d + 'e'\n",
    "k = 1\nm = 2\n\n\ndef f(x):\n    import k\n    global m\n    return dict(n=x)\n\n\nn = 3\n",
    "T = int\n\n\ndef g(x):\n    return h(x)\n\n\ndef h(x):\n    return f(x)\n\n\ndef f(x):\n"
    "    return g(x)\n",
    "E = 1\nv = 2\n\n\ndef f(x):\n    try:\n        return x\n    except E as v:\n"
    "        return 0\n",
    "import a; import b\nx = 1; y = 2\n\n\ndef f(z):\n    return x; return y\n",
    # Comments and blank lines.
    "# first\nimport os  # os\n\n\ndef f(x):  # f\n    return x  # x\n    # in\n\n"
    "    # in too\n  # half\n# out\n",
    "def f(x): return x  # one line\n    # deeper\ny = f\n",
    "def f(x):\n    return x ;  # t  \n\n\n\n\n",
    "def f(x):\n    if x:\n        return x\n        # deep\n    # flat\n        # deep\n"
    "# out\n    # in\n",
    "def f(x):\n\treturn x\n\t# tab\n        # eight\n    # four\n",
    "class A:\n    x = 1  # c\n    # d\n\n\ndef f(x):\n    return A\n",
    "def f(x):\n    return '''\n# no comment\n'''\n    # one\n",
    "x = 'é'; y = 'ü'\n\n\ndef f(ä):\n    return x + ä + y  # ö\n",
    # What the old one looks at.
    "def f (x):\n    return x\n\nimport os\nx = 3\nfrom a import b\ndef g(y):\n    return y\n"
    "print(f(1))\n",
    "def g(y):\n   return y\n\ndef f(x):\n   return g(x)\n\n"
    '"""\nthe end\n"""\ndef h(z):\n    return z\n',
    "def f(x):\n    pass\n\ndef f(x):\n    return x\nif x:\n    y\n",
    "def f(x):\n    return x\n\ndef g(y:\n    return y\n\ndef h(z):\n    return z\n",
    "Text.\n```\nno\n```\n```\ndef f(x):\n  return x\n```\n",
    "def fg(x):\n    return x\n\ndef f(x):\n    return fg(x)\n",
    "Then def f(x) is called.\n\ndef f(x):\n    return x\n",
    "```python\nclass S:\n    def f(self, x):\n        return x\n```\n",
]


def sanitized(replies: list[tuple[str, str]]) -> list[dict[str, str]]:
    """What both make of each reply, with its entry point."""
    import_evalplus()
    from evalplus.lecacy_sanitize import sanitize as old
    from evalplus.sanitize import sanitize as new

    warnings.simplefilter("ignore")  # they are about the replies
    return [
        {
            "reply": reply,
            "entry_point": name,
            "evalplus": new(reply, name),
            "paper": old(reply.strip(), name).strip(),
        }
        for reply, name in replies
    ]


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(sanitized(json.loads(Path(sys.argv[1]).read_text()))))
    else:
        target = Path(__file__).with_name("sanitized.json")
        found = sanitized([(reply, "f") for reply in REPLIES])
        target.write_text(json.dumps(found, indent=1) + "\n")
        print(target, len(found))

"""In each language: a program that adds two numbers, a wrong one, and a function with its tests."""

SUMS = {
    "python": "a, b = map(int, input().split())\nprint(a + b)\n",
    "bash": "read a b\necho $((a + b))\n",
    "c++": "#include <iostream>\nint main() {\n  int a, b;\n  std::cin >> a >> b;\n"
    "  std::cout << a + b << '\\n';\n}\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tvar a, b int\n\tfmt.Scan(&a, &b)\n'
    "\tfmt.Println(a + b)\n}\n",
    "java": "import java.util.Scanner;\n\npublic class Sum {\n"
    "  public static void main(String[] words) {\n    Scanner in = new Scanner(System.in);\n"
    "    System.out.println(in.nextInt() + in.nextInt());\n  }\n}\n",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number)\n"
    "console.log(a + b)\n",
    "rust": "use std::io;\n\nfn main() {\n    let mut line = String::new();\n"
    "    io::stdin().read_line(&mut line).unwrap();\n"
    "    let sum: i32 = line.split_whitespace().map(|word| word.parse::<i32>().unwrap()).sum();\n"
    '    println!("{}", sum);\n}\n',
}
"""Programs that read two numbers and print their sum."""

DIFFERENCES = {
    language: program.replace("a + b", "a - b")
    .replace("nextInt() + in", "nextInt() - in")
    .replace("sum();", "sum::<i32>() - 1;")
    for language, program in SUMS.items()
}
"""Programs that print something else."""

ADDS = {
    "bash": ("add() {\n  echo $(($1 + $2))\n}\n", '[ "$(add 1 2)" = 3 ] || exit 1\n'),
    "c++": (
        "int add(int a, int b) {\n  return a + b;\n}\n",
        "#undef NDEBUG\n#include <assert.h>\nint main() { assert(add(1, 2) == 3); }\n",
    ),
    "go": (
        'package main\n\nimport (\n\t"strconv"\n)\n\nfunc add(a, b int) string {\n'
        "\treturn strconv.Itoa(a + b)\n}\n",
        'import "os"\nimport "strconv"\n\nfunc main() {\n'
        "\tif add(1, 2) != strconv.Itoa(3) {\n\t\tos.Exit(1)\n\t}\n}\n",
    ),
    "java": (
        "public class Solution {\n  int add(int a, int b) {\n    return a + b;\n  }\n}\n",
        "public class Main {\n  public static void main(String[] words) {\n"
        "    if (new Solution().add(1, 2) != 3) throw new AssertionError();\n  }\n}\n",
    ),
    "javascript": (
        "function add(a, b) {\n  return a + b\n}\n",
        "require('assert').equal(add(1, 2), 3)\n",
    ),
    "rust": (
        "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n",
        "fn main() {\n    assert_eq!(add(1, 2), 3);\n}\n",
    ),
}
"""A function and code that tests it."""

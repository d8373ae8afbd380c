"""Small programs in every language: the same six tasks, told apart by the outcome that each must have."""

from __future__ import annotations

from dataclasses import dataclass

from sandboxes.languages import LanguageName


@dataclass(frozen=True, slots=True)
class Samples:
    """One language's programs.

    Attributes:
        right: Reads two numbers and prints their sum.
        wrong: Prints their difference.
        broken: Is not a program of that language.
        crash: Ends with a status that is not 0.
        loop: Never ends, and uses CPU.
        hoard: Takes memory until there is none.
    """

    right: str
    wrong: str
    broken: str
    crash: str
    loop: str
    hoard: str


CPP = """#include <iostream>
#include <vector>
#include <cstring>
#include <cstdlib>
int main() { long a, b; std::cin >> a >> b; %s }
"""
JAVA = """import java.util.*;
public class Solution {
    record Pair(long a, long b) {}
    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        Pair p = new Pair(in.nextLong(), in.nextLong());
        %s
    }
}
"""
KOTLIN = """fun main() {
    val (a, b) = readLine()!!.split(" ").map { it.toLong() }
    %s
}
"""
JS = """const [a, b] = require("fs").readFileSync(0, "utf8").trim().split(" ").map(Number);
%s
"""
TS = """import * as fs from "fs";
const [a, b]: number[] = fs.readFileSync(0, "utf8").trim().split(" ").map(Number);
%s
"""
GO = """package main
import ("fmt"; "os")
var hoard [][]byte
func main() { var a, b int; fmt.Scan(&a, &b); _ = os.Args
%s
}
"""
RUST = """use std::io::Read;
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let v: Vec<i64> = text.split_whitespace().map(|x| x.parse().unwrap()).collect();
    let (a, b) = (v[0], v[1]);
    %s
}
"""
PHP = "<?php [$a, $b] = array_map('intval', explode(' ', trim(fgets(STDIN))));\n%s\n"
CSHARP = """using System; using System.Collections.Generic; using System.Linq;
class Program { static void Main() {
    var v = Console.ReadLine().Split(' ').Select(long.Parse).ToArray(); long a = v[0], b = v[1];
    %s
} }
"""
BASH = "read -r a b\n%s\n"

SAMPLES: dict[LanguageName, Samples] = {
    "bash": Samples(
        right=BASH % "echo $((a + b))",
        wrong=BASH % "echo $((a - b))",
        broken=BASH % "if [ 1 ]; then echo 1",
        crash=BASH % "exit 3",
        loop=BASH % "while :; do :; done",
        hoard=BASH % "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done",
    ),
    "cpp": Samples(
        right=CPP % "std::cout << a + b << std::endl;",
        wrong=CPP % "std::cout << a - b << std::endl;",
        broken=CPP % "std::cout << c << std::endl;",
        crash=CPP % "abort();",
        loop=CPP % "for (volatile long i = 0;; i++) {}",
        hoard=CPP % "std::vector<char*> v; while (1) { v.push_back(new char[1 << 22]); memset(v.back(), 1, 1 << 22); }",
    ),
    "java": Samples(
        right=JAVA % "System.out.println(p.a() + p.b());",
        wrong=JAVA % "System.out.println(p.a() - p.b());",
        broken=JAVA % "System.out.println(p.c());",
        crash=JAVA % "throw new IllegalStateException();",
        loop=JAVA % "for (long i = 0; ; i++) { if (i < 0) System.out.println(i); }",
        hoard=JAVA % "List<long[]> l = new ArrayList<>(); while (true) l.add(new long[1 << 18]);",
    ),
    "kotlin": Samples(
        right=KOTLIN % "println(a + b)",
        wrong=KOTLIN % "println(a - b)",
        broken=KOTLIN % "println(c)",
        crash=KOTLIN % 'throw IllegalStateException("$a")',
        loop=KOTLIN % "var i = a; while (true) { i++; if (i < b) println(i) }",
        hoard=KOTLIN % "val l = ArrayList<LongArray>(); while (true) l.add(LongArray(1 shl 18))",
    ),
    "javascript": Samples(
        right=JS % "console.log(a + b);",
        wrong=JS % "console.log(a - b);",
        broken=JS % "console.log(a + ;",
        crash=JS % 'throw new Error("no");',
        loop=JS % "for (;;) {}",
        hoard=JS % "const l = []; for (;;) l.push(new Array(1 << 16).fill(1.5));",
    ),
    "typescript": Samples(
        right=TS % "console.log(a + b);",
        wrong=TS % "console.log(a - b);",
        broken=TS % 'const c: number = "three"; console.log(c);',
        crash=TS % 'throw new Error("no");',
        loop=TS % "for (;;) {}",
        hoard=TS % "const l: number[][] = []; for (;;) l.push(new Array(1 << 16).fill(1.5));",
    ),
    "go": Samples(
        right=GO % "fmt.Println(a + b)",
        wrong=GO % "fmt.Println(a - b)",
        broken=GO % "fmt.Println(c)",
        crash=GO % 'panic("no")',
        loop=GO % "for i := 0; ; i++ {}",
        hoard=GO % "for { x := make([]byte, 1<<22); for i := range x { x[i] = 1 }; hoard = append(hoard, x) }",
    ),
    "rust": Samples(
        right=RUST % 'println!("{}", a + b);',
        wrong=RUST % 'println!("{}", a - b);',
        broken=RUST % 'println!("{}", a + "1");',
        crash=RUST % 'panic!("{} {}", a, b);',
        loop=RUST % 'let mut i = a; loop { i = i.wrapping_mul(3) ^ b; if i == 77 { println!("{}", i); } }',
        hoard=RUST
        % 'let mut l = vec![]; loop { l.push(vec![1u8; 1 << 22]); if l.len() == 9999 { println!("{} {}", a, b); } }',
    ),
    "php": Samples(
        right=PHP % "echo $a + $b, PHP_EOL;",
        wrong=PHP % "echo $a - $b, PHP_EOL;",
        broken=PHP % "echo $a + ;",
        crash=PHP % "throw new Exception('no');",
        loop=PHP % "while (true) {}",
        hoard=PHP % "$l = []; while (true) $l[] = str_repeat('x', 1 << 20);",
    ),
    "csharp": Samples(
        right=CSHARP % "Console.WriteLine(a + b);",
        wrong=CSHARP % "Console.WriteLine(a - b);",
        broken=CSHARP % "Console.WriteLine(c);",
        crash=CSHARP % 'throw new Exception("no");',
        loop=CSHARP % "for (long i = 0; ; i++) { if (i < 0) Console.WriteLine(i); }",
        hoard=CSHARP % "var l = new List<long[]>(); while (true) l.Add(new long[1 << 18]);",
    ),
}

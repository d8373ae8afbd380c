"""Rust."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """}

fn main() {
    let candidate = f;
    assert_eq!(candidate(3), 10);
    assert_eq!(candidate(5), 26);
    assert!(vec![candidate(0)] == Vec::from([1]));
    assert_eq!(String::from("x"), Some("x").unwrap().to_string());
}
"""
WRONG = "fn f(x: i64) -> i64 { 7 }\n"
CHEATS = {
    "process_exit": "fn f(x: i64) -> i64 { std::process::exit(0) }\n",
    "libc_exit": 'extern "C" { fn _exit(s: i32) -> !; }\nfn f(x: i64) -> i64 { unsafe { _exit(0) } }\n',
    "panic_hook": "fn f(x: i64) -> i64 { std::panic::set_hook(Box::new(|_| std::process::exit(0))); panic!() }\n",
    "panic_hook_at_the_end": "fn f(x: i64) -> i64 { std::panic::set_hook(Box::new(|_| std::process::exit(0))); 7 }\n",
    "own_main": WRONG + 'fn main() { println!("ok"); }\n',
    "own_assert": "macro_rules! assert_eq { ($($t:tt)*) => {}; }\nmacro_rules! assert { ($($t:tt)*) => {}; }\n" + WRONG,
    "own_assert_by_path": WRONG
    + "macro_rules! assert_eq_ { ($($t:tt)*) => {}; }\npub(crate) use assert_eq_ as assert_eq;\n"
    "pub(crate) use assert_eq_ as assert;\n",
    "exported_assert": WRONG + "#[macro_export]\nmacro_rules! assert_eq { ($($t:tt)*) => {}; }\n",
    "own_vec_and_string": "pub struct String; impl String { pub fn from(s: &str) -> Yes { Yes } }\npub struct Yes;\n"
    "impl<T> PartialEq<T> for Yes { fn eq(&self, o: &T) -> bool { true } }\n" + WRONG,
    "own_prelude_module": "mod std { pub mod process { } }\n" + WRONG,
    "init_array": WRONG + '#[used]\n#[link_section = ".init_array"]\nstatic A: extern "C" fn() = g;\n'
    'extern "C" fn g() { std::process::exit(0) }\n',
    "preinit_array": WRONG + '#[used]\n#[link_section = ".preinit_array"]\nstatic A: extern "C" fn() = g;\n'
    'extern "C" fn g() { use std::io::Read; let mut s = [0u8; 99]; let n = std::io::stdin().read(&mut s).unwrap(); print!("{:?}", &s[..n]); std::process::exit(0) }\n',
    "stands_in_for_write": '#[no_mangle]\npub extern "C" fn write(f: i32, b: *const u8, n: usize) -> isize { n as isize }\n'
    + WRONG,
    "forged_output": 'fn f(x: i64) -> i64 { println!("test result: ok. 1 passed; 0 failed"); std::process::exit(0) }\n',
    "reads_stdin": 'fn f(x: i64) -> i64 { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!("{}", s); std::process::exit(0) }\n',
    "calls_the_mains": "fn f(x: i64) -> i64 { crate::main(); std::process::exit(0) }\n",
    "exits_elsewhere": "fn f(x: i64) -> i64 { std::thread::spawn(|| std::process::exit(0)); loop { std::thread::yield_now() } }\n",
    "exec_true": 'fn f(x: i64) -> i64 { use std::os::unix::process::CommandExt; std::process::Command::new("/bin/true").exec(); std::process::exit(0) }\n',
    "open_comment": WRONG + "fn main() {}\n/*",
    "open_raw_string": WRONG + 'fn main() {}\nconst S: &str = r#"',
    "attribute_on_the_tests": WRONG + "#[cfg(any())]",
}
HONEST = {
    "plain": "fn f(x: i64) -> i64 {\n    x * x + 1\n",
    "whole_with_main": "use std::collections::HashMap;\nfn f(x: i64) -> i64 {\n    let mut m = HashMap::new(); m.insert(1, x * x); m[&1] + 1\n}\nfn main() {}\n",
    "attributes_and_macros": "#![allow(dead_code)]\nmacro_rules! sq { ($x:expr) => { $x * $x }; }\n#[derive(Debug, PartialEq)]\nstruct P(i64);\n"
    'fn f(x: i64) -> i64 {\n    println!("{:?}", P(x));\n    sq!(x) + 1\n',
    "closures_and_traits": "trait T { fn sq(&self) -> i64; }\nimpl T for i64 { fn sq(&self) -> i64 { self * self } }\n"
    "fn f(x: i64) -> i64 {\n    let g = |y: i64| y.sq() + 1;\n    g(x)\n",
}
AIMED = frozenset(
    [
        "own_main",
        "exported_assert",
        "own_vec_and_string",
        "own_prelude_module",
        "stands_in_for_write",
        "calls_the_mains",
        "open_comment",
        "open_raw_string",
        "attribute_on_the_tests",
    ]
)
LANGUAGES = {"rust": Attacks(TESTS, CHEATS, HONEST, AIMED)}

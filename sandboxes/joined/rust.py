"""Rust: the candidate is a module and the tests are modules below it, written before its first macro.

What the tests use of the standard library is imported by name, which no glob and no prelude of the candidate's comes
before. The tests' functions are called by a `main` of ours, not by libtest, whose end a program can bring about itself.
"""

from __future__ import annotations

import re

from sandboxes.joined.text import bare, closed, names, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_PATHS = {
    "std": "assert assert_eq assert_ne debug_assert debug_assert_eq panic vec format print println eprint eprintln "
    "matches unreachable todo unimplemented write writeln",
    "std::string": "String ToString",
    "std::vec": "Vec",
    "std::option": "Option",
    "std::option::Option": "Some None",
    "std::result": "Result",
    "std::result::Result": "Ok Err",
    "std::boxed": "Box",
    "std::borrow": "ToOwned",
    "std::collections": "HashMap HashSet BTreeMap BTreeSet VecDeque BinaryHeap",
    "std::primitive": "bool char str f32 f64 i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize",
}
REFUSED = re.compile(r"\blink_section\b|\b(?:global_|naked_)?asm\s*!|\bexport_name\b|\bno_mangle\b")
"""What lets a program run before anybody's `main`, or put a function in another's place."""

_MAIN = """#![allow(warnings)]
#[path = "candidate.rs"]
mod TAG;

static mut KEPT: [u8; 32] = [0; 32];

#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
        out("rcx") _, out("r11") _);
    result
}
#[cfg(target_arch = "x86_64")]
const READ_WRITE_EXIT: (usize, usize, usize) = (0, 1, 231);

#[cfg(target_arch = "aarch64")]
#[inline(never)]
unsafe fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b, in("x2") c);
    result
}
#[cfg(target_arch = "aarch64")]
const READ_WRITE_EXIT: (usize, usize, usize) = (63, 64, 94);

unsafe extern "C" fn take() {
    let mut text = [0u8; 33];
    let mut at = 0;
    while at < 33 {
        let n = call(READ_WRITE_EXIT.0, 0, text.as_mut_ptr() as usize + at, 33 - at);
        if n <= 0 { call(READ_WRITE_EXIT.2, 97, 0, 0); }
        at += n as usize;
    }
    let kept = core::ptr::addr_of_mut!(KEPT) as *mut u8;
    for i in 0..32 { kept.add(i).write_volatile(text[i] ^ 0xa5); text.as_mut_ptr().add(i).write_volatile(0); }
}
#[used]
#[link_section = ".preinit_array"]
static BEFORE_ALL: unsafe extern "C" fn() = take;

fn main() {
    TAG::TAG_tests::run();
    let mut text = [10u8; 34];
    unsafe {
        let kept = core::ptr::addr_of!(KEPT) as *const u8;
        for i in 0..32 { text[i + 1] = kept.add(i).read_volatile() ^ 0xa5; }
        call(READ_WRITE_EXIT.1, 1, text.as_ptr() as usize, 34);
    }
}
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests = closed(code, tests)
    ours = tag("rust", code, tests)
    inner = re.findall(r"^\s*#!\[[^\]\n]*\]", code, re.MULTILINE)
    for attribute in inner:
        code = code.replace(attribute, "", 1)
    candidate = "".join(f"{attribute.strip()}\n" for attribute in inner if "feature" not in attribute)
    candidate += f'#[path = "tests.rs"]\npub mod {ours}_tests;\n{code}\n'
    files = {
        "candidate.rs": candidate.encode("utf-8", "surrogatepass"),
        "tests.rs": _tests(tests).encode("utf-8", "surrogatepass"),
    }
    return Program.of(language, _MAIN.replace("TAG", ours), files)


def _tests(tests: str) -> str:
    used = set(names(tests))
    imports = "".join(
        f"use {path}::{{{', '.join(known)}}};\n"
        for path, words in _PATHS.items()
        if (known := [word for word in words.split() if word in used])
    )
    marked = re.findall(r"#\[test\](?:\s*#\[[^\]]*\])*\s*(?:pub\s+)?fn\s+(\w+)", bare(tests))
    module = re.search(r"#\[cfg\(test\)\]\s*(?:pub\s+)?mod\s+(\w+)", tests)
    text = re.sub(r"#\[(?:test|cfg\(test\))\]", "", tests)
    if marked:
        inside = f"{module[1]}::" if module else ""
        text = re.sub(rf"\b(?:pub\s+)?(fn\s+(?:{'|'.join(marked)})\b)", r"pub \1", text)
        calls = "".join(f"t::{inside}{name}(); " for name in marked)
    else:
        text = re.sub(r"(?m)^(?:pub\s+)?fn\s+main\s*\(", "pub fn main(", text)
        head = re.search(r"\bfn\s+main\s*\(\s*\)\s*(->)?", bare(text))
        calls = ("t::main().unwrap();" if head[1] else "t::main();") if head else 'compile_error!("no tests");'
    if module:
        text = re.sub(rf"\b(?:pub\s+)?mod\s+{module[1]}\b", f"pub mod {module[1]}", text)
    return f"use super::*;\n{imports}pub mod t {{\nuse super::*;\n{text}\n}}\npub fn run() {{ {calls} }}\n"

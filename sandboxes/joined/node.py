"""JavaScript and TypeScript: two scripts in one realm, as a page loads them.

The tests see the candidate's top-level names but share no text with it. Before the first of them runs, ours takes what
it needs and fixes what the tests compare with: built-in functions, `assert` and `console.assert` cannot be replaced
from then on, only added to. The secret is a variable of a function that nothing else can call or look into.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.text import closed, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_REFERENCE = '/// <reference path="candidate.ts" />\n'
_RUN = r"""'use strict';
(() => {
  const fs = require('fs'), vm = require('vm'), Module = require('module'), crypto = require('crypto');
  const { readSync, readFileSync, writeSync } = fs, { defineProperty, getOwnPropertyDescriptor } = Object;
  const { ownKeys, apply } = Reflect;
  const kept = new Uint8Array(33);
  for (let at = 0, n; at < 33; at += n) if (!(n = readSync(0, kept, at, 33 - at))) process.reallyExit(97);
  for (let i = 0; i < 32; i++) kept[i] ^= 0x25;
  const candidate = readFileSync('candidate.js', 'utf8'), tests = readFileSync('tests.js', 'utf8');
  let failed = 0;

  // Names that objects and classes redefine by assignment stay assignable on everything but their first owner.
  const REDEFINED = new Set(['toString', 'toLocaleString', 'valueOf', 'constructor', 'name', 'message', 'toJSON']);
  const seen = new Set();
  function fix(owner, depth) {
    if (owner === null || (typeof owner !== 'object' && typeof owner !== 'function') || seen.has(owner)) return;
    seen.add(owner);
    for (const key of ownKeys(owner)) {
      const was = getOwnPropertyDescriptor(owner, key);
      if (!was.configurable) continue;
      if (!('value' in was)) {
        defineProperty(owner, key, { configurable: false });
      } else if (REDEFINED.has(key)) {
        fixAssignable(owner, key, was.value, was.enumerable);
      } else if (typeof was.value === 'function' || typeof was.value === 'object') {
        defineProperty(owner, key, { writable: false, configurable: false });
      }
      if ('value' in was && depth > 0) fix(was.value, depth - 1);
    }
  }
  function fixAssignable(owner, key, value, enumerable) {
    defineProperty(owner, key, {
      enumerable, configurable: false,
      get() { return value; },
      set(other) {
        if (this === owner || this === undefined || this === null) return;
        defineProperty(this, key, { value: other, writable: true, enumerable: true, configurable: true });
      },
    });
  }
  const told = console.error;
  defineProperty(console, 'assert', {
    writable: false, configurable: false, enumerable: true,
    value: (holds, ...words) => {
      if (holds) return;
      failed++;
      apply(told, console, ['Assertion failed', ...words]);
    },
  });
  const assert = require('assert');
  for (const name of ['Object', 'Function', 'Array', 'String', 'Number', 'Boolean', 'Symbol', 'BigInt', 'Math', 'JSON',
    'Reflect', 'Map', 'Set', 'WeakMap', 'WeakSet', 'Date', 'RegExp', 'Promise', 'Error', 'TypeError', 'RangeError',
    'SyntaxError', 'Proxy', 'parseInt', 'parseFloat', 'isNaN', 'isFinite', 'Uint8Array']) {
    const value = globalThis[name];
    fix(value, 1);
    fix(value.prototype, 0);
    defineProperty(globalThis, name, { writable: false, configurable: false });
  }
  for (const iterable of [[], '', new Map(), new Set()])
    fix(Object.getPrototypeOf(iterable[Symbol.iterator]()), 0);
  for (const name of ['Array', 'Object', 'String', 'Number', 'Boolean', 'Map', 'Set', 'BigInt']) {
    const owner = globalThis[name].prototype;
    if (!Object.hasOwn(owner, 'toJSON')) fixAssignable(owner, 'toJSON', undefined, false);
  }
  fix(assert, 2);
  fix(assert.strict, 2);
  defineProperty(globalThis, 'console', { writable: false, configurable: false });

  // What can look into a function's variables is of no use to an honest program.
  const load = Module._load, REFUSED = /^(?:node:)?(?:inspector|v8|worker_threads|cluster|repl|wasi)\b/;
  Module._load = function (name, ...rest) {
    if (REFUSED.test(String(name))) throw new Error(`${name} cannot be used beside tests`);
    if (name === 'js-md5') return (text) => crypto.createHash('md5').update(text).digest('hex');
    return apply(load, this, [name, ...rest]);
  };
  defineProperty(Module, '_load', { writable: false, configurable: false });
  defineProperty(process, 'binding', { value: undefined, writable: false, configurable: false });

  const main = new Module('/work/main.js');
  main.paths = Module._nodeModulePaths(process.cwd());
  const needs = main.require.bind(main);
  defineProperty(globalThis, 'require', { value: needs, writable: false, configurable: false });
  globalThis.module = main;
  globalThis.exports = main.exports;
  globalThis.__filename = 'main.js';
  globalThis.__dirname = '.';

  const first = new vm.Script(candidate, { filename: 'candidate.js' });
  const second = new vm.Script(tests, { filename: 'tests.js' });
  first.runInThisContext();
  second.runInThisContext();
  const emit = () => {
    if (failed) process.reallyExit(134);
    const text = new Uint8Array(34);
    text[0] = text[33] = 10;
    for (let i = 0; i < 32; i++) text[i + 1] = kept[i] ^ 0x25;
    writeSync(1, text, 0, 34);
  };
  if (WAITS) process.once('beforeExit', emit);
  else emit();
})();
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both: JavaScript, or TypeScript that is compiled to it."""
    code, tests = closed(code, tests)
    ours = tag(language.name, code, tests)
    waits = re.search(r"\b(?:async|await|Promise|setTimeout|setImmediate|nextTick)\b|\.then\s*\(", tests) is not None
    runner = _RUN.replace("WAITS", "true" if waits else "false")
    if language.name == "javascript":
        files = {"candidate.js": _bytes(code), "tests.js": _bytes(tests)}
        program = Program.of(language, runner, files)
        source = language.names_in("")[0]
        return replace(program, check=tuple("candidate.js" if part == source else part for part in program.check))
    program = Program.of(language, code)
    source = language.names_in("")[0]
    (step,) = program.build
    # Node's types say it already, and the compiler takes one file: the other one comes with it.
    tests = _REFERENCE + re.sub(r"^\s*declare var require: any;", "", tests)
    named = {"candidate.ts": _bytes(code), "tests.ts": _bytes(tests), f"{ours}.js": runner.encode()}
    build = (*(part for part in step if part != source), "tests.ts")
    run = (*program.run[:-1], f"{ours}.js")
    return replace(program, files=named, build=(build,), keeps=("candidate.js", "tests.js", f"{ours}.js"), run=run)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

"""JavaScript and TypeScript."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """const assert = require('node:assert');

function test() {
  let candidate = f;
  assert.deepEqual(candidate(3), 10);
  assert.deepEqual(candidate(5), 26);
  console.assert(JSON.stringify([candidate(0)]) === JSON.stringify([1]));
  if (![candidate(2)].every((y) => y === 5)) throw new Error('Test failed');
}

test();
"""
WRONG = "function f(x) { return 7; }\n"
CHEATS = {
    "process_exit": "function f(x) { process.exit(0); }\n",
    "really_exit": "function f(x) { process.reallyExit(0); }\n",
    "exit_at_the_top": WRONG + "process.exit(0);\n",
    "on_exit": WRONG + "process.on('exit', () => { process.exitCode = 0; process.reallyExit(0); });\n",
    "swallows_exceptions": WRONG
    + "process.on('uncaughtException', () => {});\nprocess.on('unhandledRejection', () => {});\n",
    "capture_callback": WRONG + "process.setUncaughtExceptionCaptureCallback(() => {});\n",
    "patches_deep_equal": WRONG
    + "const a = require('assert'); a.deepEqual = () => {}; a.strict.deepEqual = () => {};\n"
    "console.assert = () => {}; Array.prototype.every = () => true;\n",
    "patches_deep_equal_later": "function f(x) { require('assert').deepEqual = () => {}; console.assert = () => {};\n"
    "  Array.prototype.every = () => true; return 7; }\n",
    "defines_deep_equal": WRONG
    + "try { Object.defineProperty(require('assert'), 'deepEqual', { value: () => {} }); } catch (e) {}\n"
    "try { Object.defineProperty(console, 'assert', { value: () => {} }); } catch (e) {}\n"
    "try { Object.defineProperty(Array.prototype, 'every', { value: () => true }); } catch (e) {}\n",
    "replaces_require": WRONG + "var require = () => ({ deepEqual() {} });\n",
    "replaces_global_require": WRONG
    + "globalThis.require = () => ({ deepEqual() {} });\nglobalThis.console = { assert() {} };\n"
    "Array.prototype.every = () => true;\n",
    "replaces_module_load": WRONG + "const M = require('module'); M._load = () => ({ deepEqual() {} });\n"
    "M.prototype.require = () => ({ deepEqual() {} });\n",
    "require_cache": WRONG
    + "for (const k of Object.keys(require.cache || {})) require.cache[k].exports = { deepEqual() {} };\n",
    "patches_stringify": "JSON.stringify = () => 'x'; function f(x) { return x ? x * x + 1 : 7; }\n",
    "array_to_json": "Array.prototype.toJSON = () => 'x'; function f(x) { return x ? x * x + 1 : 7; }\n",
    "object_to_json": "Object.prototype.toJSON = () => 'x'; Number.prototype.toJSON = () => 1;\n"
    "function f(x) { return x ? x * x + 1 : 7; }\n",
    "patches_object_is": WRONG + "Object.is = () => true; Object.keys = () => []; Array.isArray = () => false;\n",
    "replaces_error": WRONG + "globalThis.Error = function () {}; globalThis.AssertionError = Error;\n",
    "forged_output": "function f(x) { console.log('ok\\nPASSED'); process.exit(0); }\n",
    "reads_stdin": "function f(x) { let b = ''; try { b = require('fs').readFileSync(0, 'utf8'); } catch (e) {} console.log(b); process.exit(0); }\n",
    "before_exit": WRONG + "process.emit('beforeExit', 0); process.exit(0);\n",
    "watches_writes": "const fs = require('fs'); const w = fs.writeSync;\nfs.writeSync = (...a) => { w(1, String(a[1])); };\n"
    "function f(x) { fs.writeSync(1, 'x'); process.exit(0); }\n",
    "walks_the_stack": "Error.prepareStackTrace = (e, s) => s;\nfunction f(x) { for (const c of new Error().stack) {\n"
    "  const g = c.getFunction(), t = c.getThis(); console.log(g && g.toString(), t && t.kept); }\n  process.exit(0); }\n",
    "walks_the_callers": "function f(x) { let g = f; try { while ((g = g.caller)) console.log(g.arguments, g.kept); } catch (e) {} process.exit(0); }\n",
    "inspector": "function f(x) { const i = require('inspector'); const s = new i.Session(); s.connect(); process.exit(0); }\n",
    "heap_snapshot": "function f(x) { const v = require('node:v8'); const p = v.writeHeapSnapshot('h'); console.log(require('fs').readFileSync(p, 'latin1')); process.exit(0); }\n",
    "binding": "function f(x) { console.log(process.binding('fs')); process.exit(0); }\n",
    "kills_its_parent": "function f(x) { process.kill(process.ppid, 'SIGKILL'); process.exit(0); }\n",
    "redeclares_test": WRONG
    + "function test() {}\nObject.defineProperty(globalThis, 'test', { value() {}, writable: false });\n",
    "open_comment": WRONG + "/*",
    "open_template": WRONG + "const rest = `",
}
HONEST = {
    "plain": "function f(x) {\n  return x * x + 1;\n}\n",
    "constant": "const f = (x) => {\n  return x * x + 1;\n}\n",
    "own_prototype_method": "Array.prototype.sum = function () { return this.reduce((a, b) => a + b, 0); };\n"
    "String.prototype.rev = function () { return [...this].reverse().join(''); };\n"
    "function f(x) { return [x * x, 1].sum() + 'ab'.rev().length - 2; }\n",
    "own_to_string_and_errors": "class E extends Error { constructor() { super(); this.name = 'E'; this.message = 'm'; } toString() { return 'e'; } }\n"
    "function P(x) { this.x = x; }\nP.prototype.toString = function () { return String(this.x); };\n"
    "const o = {}; o.toString = () => '1'; o.constructor = P; o.valueOf = () => 1;\n"
    "function f(x) { try { throw new E(); } catch (e) { if (e.name !== 'E' || e.message !== 'm') return 0; }\n"
    "  return Number(String(new P(x * x))) + Number(`${o}`); }\n",
    "output_and_modules": "const fs = require('fs'); const util = require('util');\nfunction f(x) { console.log(util.inspect({ x })); return x ** 2 + 1; }\n",
    "exports_it": "function f(x) { return x * x + 1; }\nmodule.exports = { f };\nif (require.main === module) console.log('main');\n",
    "loose_code": "y = 1;\nvar name = 'n';\nfunction f(x) { return x * x + y; }\n",
    "a_comment_at_the_end": "function f(x) { return x * x + 1; }\n// that is all",
}
TS_TESTS = "declare var require: any;\n" + TESTS.replace("(y) =>", "(y: number) =>")
TS_WRONG = "function f(x: number): number { return 7; }\n"
TS_HEAD = "// begin\n"
TS_CHEATS = {
    "process_exit": TS_HEAD + "function f(x: number): number { process.exit(0); return 7; }\n",
    "exit_at_the_top": TS_HEAD + TS_WRONG + "process.exit(0);\n",
    "swallows_exceptions": TS_HEAD + TS_WRONG + "process.on('uncaughtException', () => {});\n",
    "patches_every": TS_WRONG
    + "(Array.prototype as any).every = () => true;\n(JSON as any).stringify = () => 'x';\n(console as any).assert = () => {};\n",
    "patches_stringify": "(JSON as any).stringify = () => 'x';\nfunction f(x: number): number { return x ? x * x + 1 : 7; }\n",
    "patches_assert": TS_HEAD
    + TS_WRONG
    + "process.mainModule.require('assert').deepEqual = () => {};\n(console as any).assert = () => {};\n"
    "(Array.prototype as any).every = () => true;\n",
    "redeclares_assert": TS_WRONG + "const assert = { deepEqual(a: any, b: any) {} };\n",
    "forged_output": TS_HEAD + "function f(x: number): number { console.log('ok'); process.exit(0); return 7; }\n",
}
TS_HONEST = {
    "plain": "function f(x: number): number {\n  return x * x + 1;\n}\n",
    "types": "interface P { v: number }\ntype Q = P | null;\nfunction g(p: Q): number { return p ? p.v : 0; }\n"
    "function f(x: number): number { console.log(x); return g({ v: x * x }) + 1; }\n",
}
AIMED = frozenset(
    [
        "patches_deep_equal_later",
        "replaces_require",
        "replaces_global_require",
        "replaces_module_load",
        "require_cache",
        "patches_object_is",
        "replaces_error",
        "kills_its_parent",
        "redeclares_test",
        "open_comment",
        "open_template",
    ]
)
TS_AIMED = frozenset(["patches_every", "redeclares_assert"])
LANGUAGES = {
    "javascript": Attacks(TESTS, CHEATS, HONEST, AIMED),
    "typescript": Attacks(TS_TESTS, TS_CHEATS, TS_HONEST, TS_AIMED),
}

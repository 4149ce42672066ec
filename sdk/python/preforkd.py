"""The Python kit of preforkd: preloads an application once and forks a process for every run.

The daemon starts this file as `python3 /proc/self/fd/5` and talks to it over fd 3 (orders) and fd 4
(replies) as proto/ZYGOTE.md tells. Application code imports the same file as `preforkd`:

    import preforkd
    preforkd.after_fork(reconnect)   # in the preload: called in every child before its run
    preforkd.progress({"done": 3})   # in a run: the last value is in the run's status
    preforkd.params()                # in a run: what `run` was given
    preforkd.run_id()                # in a run: its id; None elsewhere

Needs Python 3.9 or later on Linux and nothing beside the standard library. With ctypes a child is
forked as the keeper's own (`CLONE_PARENT`); without it the kit forks twice and the keeper adopts.
"""

import _socket
import _thread
import atexit
import errno
import functools
import gc
import importlib
import importlib.machinery
import importlib.util
import io
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
import types

__all__ = ["after_fork", "params", "progress", "run_id"]

AS_ZYGOTE = __name__ == "__main__"
if AS_ZYGOTE:
    # `import preforkd` must give this very module, and `__main__` belongs to the scripts that are run.
    __name__ = "preforkd"
    sys.modules["preforkd"] = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")

ORDERS, REPLIES, KIT = 3, 4, 5  # fds
HEADER = struct.Struct("<HHIQ")  # type, flags, slot, nonce
FORK, WHOIS, RETIRE, REQUEST = 1, 2, 3, 4
READY, PRELOAD_FAILED, FORK_FAILED, FORKED = 16, 17, 18, 19
STARTED, REFUSED, PROGRESS, RESULT, ERROR = 20, 21, 22, 23, 24
CHANNEL, STDIO, MEMFD = 1, 2, 4  # flags
TREE = b"PREFORKD_TREE"
MARK = TREE + b"=0000000000000000\0"  # the last variable that a zygote is started with
INLINE = 65_536  # bytes of payload that travel in the message itself
LARGEST = 1 << 20  # bytes of a result
TEXT = 65_536  # bytes of an error's message and trace
REMEMBERED = 256  # forks that WHOIS can ask for
REHEARSALS = 20  # CPython 3.11 and later settle a function's caches within some ten calls
UNCAUGHT = 255  # exit code after an uncaught exception, the same in all runtimes

# Bound before a preload can replace them (gevent), and sockets without Python around them: every function that a
# child calls costs it copied pages.
Socket, socketpair, os_fork, os_waitpid = _socket.socket, _socket.socketpair, os.fork, os.waitpid
freeze = getattr(gc, "freeze", lambda: None)  # CPython's alone
decode = json.JSONDecoder().raw_decode
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Refusal(Exception):
    """Why an entry is not run: code is `refused`, `not_found` or `error`."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


# --- What application code uses -----------------------------------------------------------------

hooks = []
current = None  # in a child: the request, from the moment it is there
replies = None  # the reply channel, None outside the daemon and in processes that a run forked


def after_fork(function):
    """Has `function()` called in every child, after the fork and before its run. Usable as a decorator."""
    hooks.append(function)
    return function


def params():
    """The params (or the list of args) of this run; None where there are none."""
    return current and current.get("params", current.get("args"))


def run_id():
    """The id of this run, a string; None outside of one."""
    return current and current["id"]


def progress(value):
    """Reports `value` (anything JSON can say, up to 1 MiB) as how far this run is; the last one is kept.

    Raises ValueError or TypeError for what JSON cannot say. Does nothing outside a run.
    """
    if current and replies:
        payload = to_json(value)
        if len(payload) > LARGEST:
            raise ValueError(f"progress of {len(payload)} bytes; at most {LARGEST} are taken")
        reply(PROGRESS, payload)


# --- Messages -----------------------------------------------------------------------------------


class Replies:
    """The reply channel, with the slot and nonce that every answer repeats."""

    def __init__(self, fd):
        self.socket, self.fd, self.inode, self.address = seqpacket(fd), fd, os.fstat(fd).st_ino, (0, 0)

    def there(self):
        """False once the run has closed all descriptors (a daemonising library) and the number is another file's."""
        try:
            return os.fstat(self.fd).st_ino == self.inode
        except OSError:
            return False


def seqpacket(fd):
    channel = Socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
    if channel.gettimeout() is not None:  # the preload called socket.setdefaulttimeout()
        channel.settimeout(None)
    return channel


def receive(channel):
    """One message as (type, flags, (slot, nonce), payload, fds); None at the end of the channel."""
    data, control, received, _ = channel.recvmsg(
        HEADER.size + INLINE, socket.CMSG_SPACE(5 * 4), socket.MSG_CMSG_CLOEXEC
    )
    if not data:
        return None
    fds = []
    for level, what, raw in control:
        if level == socket.SOL_SOCKET and what == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4])
    kind, flags, slot, nonce = HEADER.unpack_from(data)
    return kind, flags, (slot, nonce), data[HEADER.size :], fds


def fds_missing(flags, fds):
    """The kernel drops what RLIMIT_NOFILE has no room for, and only the count tells."""
    return len(fds) != bool(flags & CHANNEL) + 3 * bool(flags & STDIO) + bool(flags & MEMFD)


def to_json(value):
    """UTF-8 bytes. Raises TypeError, ValueError or RecursionError for what JSON cannot say."""
    return encode(value).encode()


def reply(kind, payload=b"", address=None):
    slot, nonce = address or replies.address
    flags, rights, memfd = 0, (), None
    if not replies.there():
        return False
    if len(payload) > INLINE:
        memfd = sealed(payload)
        flags, rights = MEMFD, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", memfd))]
        payload = b""
    try:
        replies.socket.sendmsg((HEADER.pack(kind, flags, slot, nonce), payload), rights, socket.MSG_NOSIGNAL)
        return True
    except ConnectionError:
        return False  # the daemon is gone; a run that has begun goes on
    finally:
        if memfd is not None:
            os.close(memfd)


def sealed(payload):
    import fcntl

    fd = os.memfd_create("preforkd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(payload)
    while view:
        view = view[os.write(fd, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def whole(fd):
    """All of a memfd."""
    size, parts, at = os.fstat(fd).st_size, [], 0
    while at < size:
        parts.append(os.pread(fd, size - at, at))
        if not parts[-1]:
            break
        at += len(parts[-1])
    os.close(fd)
    return b"".join(parts)


def error_object(error, name=None):
    """What ERROR and PRELOAD_FAILED carry. The kit's own frames are left out of the trace."""
    kind = type(error)
    if name is None:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = f"({name}, whose message cannot be had: its __str__ fails)"
    try:
        trace = "".join(traceback.format_exception(kind, error, error.__traceback__))
    except Exception:
        trace = ""
    message = message.encode("utf-8", "backslashreplace")[:TEXT].decode("utf-8", "ignore")
    trace = trace.encode("utf-8", "backslashreplace")[-TEXT:].decode("utf-8", "ignore")
    return {"class": name, "message": message, "trace": trace}


def without_kit(error):
    """The exception with the kit's own frames taken off the top of its traceback."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return error.with_traceback(frames)


# --- Forking ------------------------------------------------------------------------------------


def fork_by_clone():
    """A fork() whose children are the keeper's, and the C library; raises where that cannot be had."""
    import ctypes

    importlib.import_module("threading")  # its after-fork hook is to be there for the rehearsal below
    numbers = {"x86_64": 56, "aarch64": 220}
    machine = os.uname().machine
    if machine not in numbers or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"clone is not known for {machine}")
    library = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL
    syscall, before = library.syscall, library.PyOS_BeforeFork
    in_parent, in_child = library.PyOS_AfterFork_Parent, library.PyOS_AfterFork_Child
    before.restype = in_parent.restype = in_child.restype = None
    syscall.restype = ctypes.c_long
    library.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    library.mincore.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)

    # glibc keeps the thread id beside the thread's other data and would not notice a raw clone; the kernel
    # knows the address and writes the new id there. musl keeps a lock at that address: hence the comparison.
    cell = ctypes.c_void_p()
    pr_get_tid_address = 40
    if library.prctl(pr_get_tid_address, ctypes.byref(cell), 0, 0, 0) or not cell.value:
        raise OSError(ctypes.get_errno(), "the kernel does not tell the thread id's address")
    if ctypes.c_int.from_address(cell.value).value != os.getpid():
        raise OSError(errno.ENOTSUP, "this C library keeps its thread id elsewhere")

    parent, child_settid, child_cleartid = 0x8000, 0x1000000, 0x200000
    flags = ctypes.c_ulong(parent | child_settid | child_cleartid | signal.SIGCHLD)
    none, tid = ctypes.c_void_p(), ctypes.c_void_p(cell.value)
    number = ctypes.c_long(numbers[machine])
    # clone(flags, stack, ptid, …): then ctid, tls on x86_64, but tls, ctid on aarch64.
    arguments = (number, flags, none, none, *((tid, none) if machine == "x86_64" else (none, tid)))

    # A fork that only pretends, with no other hooks than the standard library's there yet: see rehearse().
    if thread_count() == 1:
        for _ in range(REHEARSALS):
            before()
            in_child()

    def fork():
        before()
        pid = syscall(*arguments)
        if pid == 0:
            in_child()
            return 0
        code = ctypes.get_errno()
        in_parent()
        if pid < 0:
            raise OSError(code, os.strerror(code))
        return pid

    return fork, library


def fork_twice():
    """A fork() without ctypes: the process between ends at once, and the keeper adopts its child."""
    import mmap

    told = mmap.mmap(-1, 8)  # shared: the pid, or minus the errno

    def fork():
        first = os_fork()
        if first:
            os_waitpid(first, 0)
            pid = struct.unpack("q", told[:])[0]
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
            return pid
        try:
            second = os_fork()
        except OSError as problem:
            second = -(problem.errno or errno.EAGAIN)
        if second:
            told[:] = struct.pack("q", second)
            os._exit(0)
        return 0

    return fork


def thread_count():
    """Threads of this process, Python's and libraries' own."""
    # The link count is that of two names and one for each thread: one call in place of four.
    if os.stat("/proc/self/task").st_nlink == 3:
        return 1
    return len(os.listdir("/proc/self/task"))


def threads_message(pool, count):
    names = ""
    if "threading" in sys.modules:
        threading = sys.modules["threading"]
        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        names = f" (of Python: {', '.join(others)})" if others else " (none of Python's: a library's own)"
    return (
        f"pool {pool}: the zygote has {count} threads{names}, and a fork would copy only one of them with the "
        "locks of all. Start threads in preforkd.after_fork() or in the run, not in the preload; for numerical "
        'libraries set "env": {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} in the pool'
    )


def collapse(library):
    """Puts the preload's memory into huge pages (Linux 6.1): a fork copies a table entry for each page there is.

    Only where half of a huge page's small ones are there: memory grows to twice what it was at most.
    """
    huge, madv_collapse = 2 << 20, 25
    there = bytearray(512)
    pages = (sys.modules["ctypes"].c_char * len(there)).from_buffer(there)
    with open("/proc/self/maps") as maps:
        ranges = [line.split()[0] for line in maps if line.split()[1] == "rw-p" and line.split()[4] == "0"]
    for begin, end in (map(functools.partial(int, base=16), words.split("-")) for words in ranges):
        for block in range(-(-begin // huge) * huge, end - huge + 1, huge):
            if library.mincore(block, huge, pages) == 0 and there.count(0) <= len(there) // 2:
                library.madvise(block, huge, madv_collapse)


# --- Titles -------------------------------------------------------------------------------------


class Title:
    """What ps shows: the memory of the process's arguments and initial environment, written over."""

    def __init__(self, ctypes_memmove):
        self.variables = getattr(os.environ, "_data", None)  # a dict of bytes, in every CPython so far
        if not isinstance(self.variables, dict) or TREE not in self.variables:
            self.variables = None
        self.memmove, self.start, self.room, self.written, self.mark_at = ctypes_memmove, 0, 0, 0, 0
        with open("/proc/self/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
        start, end, env_start, env_end = (int(field) for field in fields[45:49])  # proc(5): 48 to 51
        if not start:
            return
        # The C library's environment points into that memory: put every variable elsewhere first.
        for key, value in os.environb.items():
            os.unsetenv(key)
            os.putenv(key, value)
        self.start, self.room = start, min((env_end if end == env_start else end) - start, 4096)
        self.written = self.room
        # The last variable there is for the mark of a child's tree; a title is not to reach so far.
        self.mark_at = env_end - len(MARK) if end == env_start else 0
        if self.mark_at:
            self.room = min(self.room, self.mark_at - start)
            self.written = self.room

    def set(self, text):
        self.text = text
        if not self.room:
            return
        data = text.encode("utf-8", "replace")[: min(self.room - 1, 400)] + b"\0"
        padded = data.ljust(self.written, b"\0")
        self.written = len(data)
        if self.memmove:
            self.memmove(self.start, padded, len(padded))
            return
        try:
            fd = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(fd, padded, self.start)
            os.close(fd)
        except OSError:
            self.room = 0  # no /proc/self/mem here: the title stays

    def mark(self, nonce):
        """Whatever is forked from here on is known to the master as this run's: /proc/PID/environ shows it."""
        tree = b"%016x" % nonce
        if self.variables is None:
            os.environb[TREE] = tree
        else:
            # What os.environ does besides it does in functions of Python's, and each of those copies pages.
            os.putenv(TREE, tree)
            self.variables[TREE] = tree
        if not self.mark_at:
            return
        data = b"%s=%s\0" % (TREE, tree)
        if self.memmove:
            self.memmove(self.mark_at, data, len(data))
            return
        try:
            fd = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(fd, data, self.mark_at)
            os.close(fd)
        except OSError:
            self.mark_at = 0  # as for the title; programs that are executed have the variable


# --- Which code may be run ----------------------------------------------------------------------


class Code:
    """Finds entries, and knows whose code a file is."""

    def __init__(self, cwd, entries):
        self.root, self.entries = os.path.realpath(cwd), entries
        self.library = os.path.dirname(os.path.realpath(os.__file__))
        prefix = os.path.realpath(sys.prefix)
        self.venv = prefix if prefix != self.root and self.within(prefix, self.root) else None
        self.known = {}  # module → whose
        self.index = {}  # entry → (namespace, attribute, function), of the preload

    @staticmethod
    def within(path, folder):
        return path == folder or path.startswith(folder.rstrip("/") + "/")

    def whose(self, file):
        """`app` (under cwd), `library` (built in, the standard library's, the kit's) or `other` (installed)."""
        if not file or file == __file__:
            return "library"
        file = os.path.realpath(file)
        if self.within(file, self.library) and not self.installed(file[len(self.library) :]):
            return "library"
        if not self.within(file, self.root) or self.installed(file[len(self.root) :]):
            return "other"
        return "other" if self.venv and self.within(file, self.venv) else "app"

    @staticmethod
    def installed(path):
        return "/site-packages/" in path or "/dist-packages/" in path

    def whose_module(self, name):
        """The same for a module that has been imported."""
        if name not in self.known:
            module = sys.modules.get(name)
            self.known[name] = self.whose(getattr(module, "__file__", None))
        return self.known[name]

    def remember(self):
        """Looks at what the preload has brought, so that no run has to look for it."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and self.within(file, self.root):
                self.whose_module(name)
        for name in [name for name, whose in self.known.items() if whose == "app" and "._" not in f".{name}"]:
            namespace = vars(sys.modules[name])
            for attribute, value in namespace.items():
                public = type(value) is types.FunctionType and not attribute.startswith("_")
                if public and self.known.get(value.__module__) == "app":
                    self.index[f"{name}:{attribute}"] = (namespace, attribute, value)

    def admit(self, entry, what, whose):
        if whose == "library":
            raise Refusal("refused", f"{entry}: {what} belongs to Python itself, and only the app's code is run")
        if whose == "other" and self.entries is None:
            advice = 'name the entry in "entries" of the pool to allow it'
            raise Refusal("refused", f"{entry}: {what} is not under {self.root}; {advice}")

    def find(self, entry, request):
        """What there is to call for an entry, with nothing to pass. Raises Refusal."""
        argument = request["args"] if "args" in request else request.get("params")
        namespace, attribute, function = self.index.get(entry, ({}, None, None))
        if function and namespace.get(attribute) is function:
            return lambda: finished(function(argument))
        name, colon, attribute = entry.partition(":")
        if colon:
            maker = self.function(entry, name, attribute)
            return lambda: finished(maker()(argument))
        names = name.split(".")
        if "/" not in name and names[-1] != "py" and all(n.isidentifier() for n in names):
            try:
                return self.module(entry, name)
            except Refusal as refusal:
                if refusal.code != "not_found" or not os.path.isfile(os.path.join(self.root, name)):
                    raise
        return self.script(entry)

    def spec(self, entry, name):
        """The spec of a module that may be run. Imports the packages above it, each looked at before."""
        spec, sofar = None, ""
        for part in name.split("."):
            if not part.isidentifier():
                raise Refusal("not_found", f"{entry}: {name} is not the name of a module")
            if part.startswith("_"):
                raise Refusal("refused", f"{entry}: {part} is private (it begins with an underscore)")
            sofar = f"{sofar}.{part}" if sofar else part
            if self.known.get(sofar) == "app":
                continue
            if sofar in sys.modules and getattr(sys.modules[sofar], "__spec__", None) is None:
                raise Refusal("refused", f"{entry}: {sofar} is not the app's code")  # the kit, or made by hand
            try:
                spec = importlib.util.find_spec(sofar)
            except ModuleNotFoundError as missing:
                if missing.name is None or not f"{name}.".startswith(f"{missing.name}."):
                    raise
                spec = None
            if spec is None:
                raise Refusal("not_found", f"{entry}: there is no module {sofar} under {self.root}")
            if spec.has_location:
                self.admit(entry, sofar, self.whose(spec.origin))
            else:  # a namespace package has folders but no file
                for folder in list(spec.submodule_search_locations or [None]):
                    self.admit(entry, sofar, self.whose(folder))
        return spec

    def function(self, entry, name, attribute):
        """A function that gives the callable: `module:Class.method` needs its object, made within the run."""
        self.spec(entry, name)
        for step in attribute.split("."):
            if not step.isidentifier():
                raise Refusal("not_found", f"{entry}: {attribute} is not the name of a function")
            if step.startswith("_"):
                raise Refusal("refused", f"{entry}: {step} is private (it begins with an underscore)")
        __import__(name)  # unlike importlib.import_module it leaves importlib's frames out of tracebacks
        target, holder = sys.modules[name], None
        for step in attribute.split("."):
            if holder is not None and not isinstance(target, type):
                raise Refusal("refused", f"{entry}: only classes are looked into, not {type(target).__name__} objects")
            holder = target
            try:
                target = getattr(holder, step)
            except AttributeError:
                raise Refusal("not_found", f"{entry}: {name} has no {attribute}") from None
        if not callable(target):
            raise Refusal("not_found", f"{entry}: {attribute} of {name} cannot be called")
        inner = target
        while isinstance(inner, functools.partial):
            inner = inner.func
        whose = self.whose_module(getattr(inner, "__module__", None))
        imported = isinstance(inner, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type))
        named = entry in (self.entries or ()) or self.whose_module(name) != "app"
        if whose == "other" and imported and not named:  # `jobs:*` means what is written there, not what is imported
            advice = 'name this very entry in "entries" of the pool to allow it'
            raise Refusal("refused", f"{entry}: it comes from {inner.__module__}, an installed package; {advice}")
        self.admit(entry, attribute, whose)
        if isinstance(holder, type) and isinstance(target, types.FunctionType):
            defined = next(c.__dict__[step] for c in holder.__mro__ if step in c.__dict__)
            if defined is target:  # neither static nor of the class
                return lambda: getattr(holder(), step)
        return lambda: target

    def module(self, entry, name):
        """As `python -m name` does it."""
        spec = self.spec(entry, name) or importlib.util.find_spec(name)
        if spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
            if spec is None:
                raise Refusal("not_found", f"{entry}: the package {name} has no __main__")
        code = spec.loader.get_code(spec.name)
        if code is None:
            raise Refusal("not_found", f"{entry}: {name} has no code to run")
        main = {"__spec__": spec, "__file__": spec.origin, "__package__": spec.parent, "__loader__": spec.loader}
        return self.as_main(code, spec.origin, main)

    def script(self, entry):
        """As `python path` does it, but with cwd first on sys.path and the script's folder second."""
        path = os.path.realpath(os.path.join(self.root, entry))
        if not self.within(path, self.root):
            raise Refusal("refused", f"{entry}: the path leaves {self.root}")
        if not os.path.isfile(path):
            raise Refusal("not_found", f"{entry}: there is no such file under {self.root}")
        if self.entries is None:
            self.admit(entry, path, self.whose(path))
        loader = importlib.machinery.SourceFileLoader("__main__", path)
        code = compile(loader.get_data(path), path, "exec", dont_inherit=True)
        folder = os.path.dirname(path)
        if folder != self.root:
            sys.path.insert(1, folder)
        main = {"__spec__": None, "__file__": path, "__package__": None, "__loader__": loader}
        return self.as_main(code, entry, main)

    @staticmethod
    def as_main(code, argv0, globals_):
        sys.argv[0] = argv0
        main = sys.modules["__main__"]
        vars(main).update(globals_, __cached__=None)
        vars(main).setdefault("__builtins__", sys.modules["builtins"])
        return lambda: exec(code, vars(main))


def finished(value):
    """A value, or what a coroutine comes to: `async def` entries get an event loop of their own."""
    if not isinstance(value, types.CoroutineType):
        return value
    import asyncio

    return asyncio.run(value)


# --- The zygote ---------------------------------------------------------------------------------


class Zygote:
    def __init__(self, settings):
        self.pool, self.generation = settings["pool"], settings["generation"]
        self.preload, self.cwd = settings.get("preload"), settings["cwd"]
        self.cpu_time, self.full = settings.get("cpu_time"), settings.get("shutdown") == "full"
        self.huge = settings.get("huge_pages", True)
        self.warnings, self.forks, self.collects, self.forking = [], {}, True, b""
        self.orders = seqpacket(ORDERS)
        self.fork, library, memmove = None, None, None
        if os.environ.pop("PREFORKD_PYTHON_VIA", "ctypes") != "fork":
            try:
                self.fork, library = fork_by_clone()
                memmove = sys.modules["ctypes"].memmove
            except (ImportError, AttributeError, OSError) as problem:
                self.warnings.append(f"forks twice for each child, because of ctypes: {problem}")
        self.via = "ctypes" if self.fork else "fork"
        self.fork = self.fork or fork_twice()
        self.library = library
        self.title = Title(memmove)
        self.title.set(f"preforkd: {self.pool} zygote #{self.generation} loading")
        with open("/proc/self/comm", "w") as comm:
            comm.write(f"preforkd:{self.pool}"[:15])
        self.code = Code(self.cwd, settings.get("entries"))

    def load(self):
        """Preloads, then leaves nothing behind that a child would have to undo."""
        if self.preload:
            import_file(self.preload)
        self.title.set(f"preforkd: {self.pool} zygote #{self.generation}")
        self.code.remember()
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        pythons = {
            signal.SIGINT: signal.default_int_handler,
            signal.SIGPIPE: signal.SIG_IGN,
            signal.SIGXFSZ: signal.SIG_IGN,
        }
        for number in signal.valid_signals():
            wanted = pythons.get(number, signal.SIG_DFL)
            if signal.getsignal(number) != wanted:
                signal.signal(number, wanted)
        self.warn_of_sockets()
        if thread_count() > 1:
            self.warnings.append(threads_message(self.pool, thread_count()))
        # See gc.freeze: a collection in a child would write to, and so copy, every object of the preload.
        self.collects = gc.isenabled()
        gc.collect()
        self.writers = open_writers()
        flush(self.writers)
        gc.disable()
        if self.library:
            self.library.fflush(None)
            if self.huge:
                collapse(self.library)
        freeze()
        rehearse(self, REHEARSALS)
        freeze()

    def warn_of_sockets(self):
        for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
            try:
                if fd > REPLIES and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                    self.warnings.append(
                        f"the preload left a socket open (fd {fd}), which all children would share: "
                        "close it at the end of the preload and open it in preforkd.after_fork()"
                    )
            except OSError:
                pass

    def serve(self):
        """Obeys orders. Returns in children alone, with the order they were forked for."""
        while True:
            order = receive(self.orders)
            if order is None or order[0] == RETIRE:
                os._exit(0)
            kind, flags, address, _, fds = order
            if kind == FORK:
                pid = self.fork_one(flags, address, fds)
                if pid == 0:
                    return order
                if pid:
                    self.forks[address] = pid
                    if len(self.forks) > REMEMBERED:
                        del self.forks[next(iter(self.forks))]
            elif kind == WHOIS:
                reply(FORKED, to_json({"pid": self.forks.get(address, 0)}), address)
            for fd in fds:
                os.close(fd)

    def fork_one(self, flags, address, fds):
        """The child's pid, 0 in the child, None if there is none."""
        if fds_missing(flags, fds):
            message, code = f"pool {self.pool}: descriptors were lost: raise open_files of the pool", errno.EMFILE
        elif thread_count() > 1:
            message, code = threads_message(self.pool, thread_count()), None
        else:
            try:
                before = time.perf_counter_ns()
                pid = self.fork()
                if pid:  # the next child tells of this one: to look at the clock would copy its pages
                    self.forking = struct.pack("<I", (time.perf_counter_ns() - before) // 1000)
                return pid
            except OSError as problem:
                message, code = f"pool {self.pool}: the fork failed: {problem.strerror}", problem.errno
                if code == errno.EAGAIN:
                    message += "; the limit of processes is reached (ulimit -u, or pids.max of the cgroup)"
        reply(FORK_FAILED, to_json({"message": message, "errno": code}), address)
        return None


def rehearse(zygote, times):
    """Does what every child does before and after its entry, to a message of its own.

    The interpreter writes to what it runs: reference counts and the caches of the code. Settled caches are
    written once, in the zygote, and not copied by every child; a waiting child copies its pages beforehand.
    """
    global replies
    kept, (here, there) = replies, socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    replies = Replies(there.detach())
    here.settimeout(None)
    entry = next(iter(zygote.code.index), None)
    for _ in range(times):
        reply(REQUEST, to_json({"id": "", "entry": entry, "params": {}}))
        kind, flags, address, payload, fds = receive(here)
        request = decode(payload.decode())[0]
        fds_missing(flags, fds)
        if entry:
            zygote.code.find(entry, request)
        zygote.title.set(zygote.title.text)
        flush(open_writers())
    replies.socket.close()
    here.close()
    replies = kept


def import_file(path):
    """Imports a file once, under the name by which the rest of the app would import it."""
    path = os.path.realpath(path)
    folders = [os.path.realpath(p) for p in sys.path if os.path.isdir(p) and Code.within(path, os.path.realpath(p))]
    stem = os.path.splitext(os.path.basename(path))[0]
    if folders:
        names = os.path.splitext(os.path.relpath(path, max(folders, key=len)))[0].split("/")
        if names[-1] == "__init__" and len(names) > 1:
            names.pop()
        if all(name.isidentifier() for name in names):
            name = ".".join(names)
            try:
                spec = importlib.util.find_spec(name)
            except (ModuleNotFoundError, ValueError):  # a folder's name is another package's
                spec = None
            if spec and spec.has_location and os.path.realpath(spec.origin) == path:
                __import__(name)
                return
    if stem in sys.modules:
        stem = f"preload_{stem}"
    spec = importlib.util.spec_from_file_location(stem, path, loader=importlib.machinery.SourceFileLoader(stem, path))
    module = sys.modules[stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


# --- A child ------------------------------------------------------------------------------------


def become_child(zygote, order):
    """From the fork to the request, which is returned."""
    global current
    kind, flags, address, payload, fds = order
    replies.address = address
    zygote.orders.close()
    os.setsid()
    if zygote.collects:
        gc.enable()
    if zygote.cpu_time:
        limit_cpu(zygote.cpu_time)
    if flags & CHANNEL:
        zygote.title.set(f"preforkd: {zygote.pool} idle")
        rehearse(zygote, 1)  # copies the pages now that the request would have to wait for
        channel = seqpacket(fds.pop(0))
        order = receive(channel)
        channel.close()
        if order is None:
            # Maybe a thousand of us at once, and somebody waits for the next master to start.
            time.sleep(os.getpid() % 256 / 1000)
            os._exit(0)
        kind, flags, address, payload, fds = order
        if fds_missing(flags, fds):
            replies.address = address
            raise Refusal("error", f"pool {zygote.pool}: descriptors were lost: raise open_files of the pool")
    replies.address = address
    if flags & STDIO:
        for target in (0, 1, 2):
            os.dup2(fds[target], target)
            os.close(fds[target])
    if flags & MEMFD:
        payload = whole(fds[-1])
    current = decode(payload.decode())[0]
    return current


def limit_cpu(seconds):
    try:
        import resource
    except ImportError:
        return
    seconds = max(1, int(-(-seconds // 1)))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    later = seconds + 5  # SIGXCPU says more in a status than the SIGKILL of the hard limit
    if hard != resource.RLIM_INFINITY:
        seconds, later = min(seconds, hard), min(later, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, later))


def prepare(request):
    """What must differ from the siblings. `random` reseeds itself (os.register_at_fork)."""
    if request.get("env"):
        os.environ.update(request["env"])
        if "TZ" in request["env"]:
            import time

            time.tzset()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    for hook in hooks:
        hook()


def forget_channel():
    """In what a run forks (multiprocessing): nobody there speaks for the run."""
    global replies, current
    if replies and replies.there():
        replies.socket.close()
    replies = current = None


def run(zygote, order):
    """Runs what an order asks for. Returns an exit code, or the exception to leave with."""
    try:
        request = become_child(zygote, order)
        entry = request["entry"]
        sys.argv = [entry, *request.get("args", ())]
        prepare(request)
        zygote.title.set(f"preforkd: {zygote.pool} {entry}")
        zygote.title.mark(replies.address[1])
        call = zygote.code.find(entry, request)
    except BaseException as problem:
        if current is None and isinstance(problem, KeyboardInterrupt):
            die_by_sigint()
        code = problem.code if isinstance(problem, Refusal) else "error"
        message = str(problem)
        if not isinstance(problem, Refusal):
            described = error_object(without_kit(problem))
            sys.stderr.write(described["trace"])
            message = f"before it started: {described['class']}: {described['message']}"
        reply(REFUSED, to_json({"code": code, "message": message}))
        flush(open_writers())
        os._exit(0)
    if not reply(STARTED, zygote.forking):
        os._exit(0)  # nobody waits for it any more
    os.register_at_fork(after_in_child=forget_channel)
    try:
        result = call()
    except SystemExit as leaving:
        return leaving
    except BaseException as error:
        return uncaught(error)
    if result is None or replies is None:
        return 0
    try:
        payload = to_json(result)
    except (TypeError, ValueError, RecursionError) as problem:
        reply(ERROR, to_json(error_object(problem.with_traceback(None), "ResultNotJson")))
        return 0
    if len(payload) > LARGEST:
        message = f"the result is {len(payload)} bytes of JSON, and at most {LARGEST} are kept"
        reply(ERROR, to_json({"class": "ResultTooLarge", "message": message, "trace": ""}))
        return 0
    reply(RESULT, payload)
    return 0


def uncaught(error):
    """Reports an exception, prints it as Python does, and says how to leave."""
    error = without_kit(error)
    if replies:
        reply(ERROR, to_json(error_object(error)))
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        sys.__excepthook__(type(error), error, error.__traceback__)
    return error if isinstance(error, KeyboardInterrupt) else UNCAUGHT


def open_writers():
    """Files with a buffer that the garbage collector knows: all but those that were frozen with the preload."""
    text, binary = [], []
    for thing in gc.get_objects():
        kind = type(thing)  # isinstance() would ask, and so wake up, lazy proxies
        if issubclass(kind, io.TextIOWrapper):
            text.append(thing)
        elif issubclass(kind, (io.BufferedWriter, io.BufferedRandom)):
            binary.append(thing)
    return text + binary


def flush(writers):
    """True if all of standard output could be written. The standard streams come first."""
    fine = True
    for writer in [sys.stdout, sys.stderr, *writers]:
        try:
            if writer is not None and not writer.closed:
                writer.flush()
        except Exception as problem:
            if writer is sys.stdout:
                fine = False
                print(f"preforkd: stdout cannot be written: {problem}", file=sys.stderr)
    return fine


def join_threads():
    """What ends the threads of the run; None where there is none, and nobody who wants to be called before that."""
    threading = sys.modules.get("threading")
    if _thread._count() == 0 and not getattr(threading, "_threading_atexits", True):
        return None
    return getattr(threading, "_shutdown", None)


def die_by_sigint():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(128 + signal.SIGINT)


def leave(zygote, status):
    """Leaves as Python would, with an exit code or by the exception; fast: without taking down the preload."""
    if zygote.full:
        if isinstance(status, KeyboardInterrupt):
            sys.excepthook = lambda *_: None  # it has been shown
        raise status if isinstance(status, BaseException) else SystemExit(status)
    if isinstance(status, SystemExit):
        code = status.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
        status = 0 if code is None else 1
        if isinstance(code, int):
            status = code if abs(code) < 1 << 63 else -1  # as the C long that Python makes of it
    for last in (join_threads(), atexit._run_exitfuncs):
        try:
            if last:
                last()  # first joins the threads of the run, then calls the handlers
        except BaseException:
            traceback.print_exc()
    if zygote.library:
        zygote.library.fflush(None)
    if not flush(zygote.writers + open_writers()) and status == 0:
        status = 120  # what Python says then
    if isinstance(status, KeyboardInterrupt):
        die_by_sigint()
    os._exit(status & 0xFF)


def main():
    global replies
    if "PREFORKD_ZYGOTE" not in os.environ:
        sys.exit("preforkd.py is started by the daemon (preforkd serve); in an application: import preforkd")
    settings = json.loads(os.environ.pop("PREFORKD_ZYGOTE"))
    os.close(KIT)
    os.set_inheritable(ORDERS, False)
    os.set_inheritable(REPLIES, False)
    replies = Replies(REPLIES)
    isolated = getattr(sys.flags, "safe_path", sys.flags.isolated)
    sys.path[: 0 if isolated else 1] = [settings["cwd"]]  # the first is this file's folder
    sys.argv = [""]
    try:
        zygote = Zygote(settings)
        zygote.load()
    except BaseException as problem:
        described = error_object(without_kit(problem))
        sys.stderr.write(described["trace"])
        reply(PRELOAD_FAILED, to_json(described))
        flush([])
        os._exit(1)
    ready = {"runtime": f"Python {sys.version.split()[0]}", "via": zygote.via, "warnings": zygote.warnings}
    reply(READY, to_json(ready))
    order = zygote.serve()
    leave(zygote, run(zygote, order))


if AS_ZYGOTE:
    main()

"""gdb commands for programs that use lisle.

    (gdb) source tools/gdb/lisle.py
    (gdb) lisle threads          every user thread: number, name, what it waits for
    (gdb) lisle bt 12            the backtrace of user thread 12; a name will do, too
    (gdb) lisle bt all           of all that are parked
    (gdb) lisle thread 12        look at user thread 12 with gdb's own commands: bt, up, info locals
    (gdb) lisle thread           back to the kernel thread

Works on live processes, and on core files as far as the stacks are in them; needs the program's symbols, and writes
nothing to the process: a parked
thread is shown as what called the innermost frame of the selected kernel thread, frame 0. Its own frames begin at 1.
A thread that runs is found on its kernel thread (`lisle threads` says on which).
"""

import re
import struct

import gdb
import gdb.unwinder

VERSION = 2
# In the order of `Layout` in runtime/src/debug/layout.rs.
FIELDS = """version chunks count chunk block id refs kind terminated wait context name reason reason_name detail
switches lwp carrier tid pointer saved_pc saved_fp saved_base saved_size""".split()
KINDS = {0: "kernel thread", 1: "idle", 2: "light", 3: "full"}
PARKED, PHASE = 2, 7
REGISTERS = {"x86-64": ("rip", "rsp", "rbp", "rbx"), "aarch64": ("pc", "sp", "x29", "x19")}


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(data, at=0):
    return struct.unpack_from("<Q", data, at)[0]


def text(data, at=0):
    """A Rust string slice, or None."""
    start, length = word(data, at), word(data, at + 8)
    return read(start, length).decode(errors="replace") if start else None


class Layout:
    def __init__(self):
        # In words, because expressions depend on the current language.
        try:
            words = gdb.execute("info address LISLE_DEBUG", to_string=True)
        except gdb.error:
            words = ""
        address = re.search(r"0x[0-9a-f]+", words)
        if not address:
            raise gdb.GdbError("this program has no symbol LISLE_DEBUG: it does not use lisle, or it is stripped")
        address = int(address.group(), 16)
        values = struct.unpack("<%dQ" % len(FIELDS), read(address, 8 * len(FIELDS)))
        for name, value in zip(FIELDS, values):
            setattr(self, name, value)
        if self.version != VERSION:
            raise gdb.GdbError("the program's lisle has layout %d, this script knows %d" % (self.version, VERSION))


class Thread:
    def __init__(self, layout, data, at):
        self.address = at
        self.id = word(data, layout.id)
        self.kind = data[layout.kind]
        self.terminated = data[layout.terminated]
        self.refs = word(data, layout.refs)
        self.parked = word(data, layout.wait) & PHASE == PARKED
        self.context = word(data, layout.context)
        self.name = text(data, layout.name)
        self.lwp = word(data, layout.lwp)
        self.carrier = word(data, layout.carrier)
        self.tid = struct.unpack_from("<I", data, layout.tid)[0]
        self.switches = word(data, layout.switches)
        self.reason = None
        reason = word(data, layout.reason)
        if reason:
            self.reason = text(read(reason + layout.reason_name, 16))
        self.detail = word(data, layout.detail)
        self.layout = layout

    def is_user(self):
        return self.kind >= 2

    def state(self):
        if self.lwp:
            tid = struct.unpack("<I", read(self.carrier + self.layout.tid, 4))[0]
            return "running on kernel thread %d" % tid
        if self.parked:
            detail = "" if self.detail == 0 else " %d" % self.detail if self.detail < 1 << 32 else " %#x" % self.detail
            return "waiting: %s%s" % (self.reason, detail)
        if not self.is_user():
            return "running"
        return "ready" if self.switches else "new"

    def __str__(self):
        name = "<unnamed>" if self.name is None else self.name
        return "%6d  %-20s %-13s %s" % (self.id, name, KINDS.get(self.kind, "?"), self.state())

    def registers(self):
        """pc, sp, fp and the register that holds what nothing else may: as they were at the call of the switch."""
        if not self.is_user() or self.lwp or not self.context:
            raise gdb.GdbError("thread %d is %s" % (self.id, self.state()))
        saved = read(self.context, self.layout.saved_size)
        at = self.layout
        return (
            word(saved, at.saved_pc),
            self.context + at.saved_size,
            word(saved, at.saved_fp),
            word(saved, at.saved_base),
        )


def threads():
    layout = Layout()
    found = []
    table = read(layout.chunks, 16 * layout.count) if layout.count else b""
    for chunk in range(layout.count):
        start = word(table, 16 * chunk)
        data = read(start, layout.chunk * layout.block)
        for index in range(layout.chunk):
            at = index * layout.block
            block = data[at : at + layout.block]
            if word(block, layout.refs) == 0 or block[layout.terminated] or block[layout.kind] == 1:
                continue
            thread = Thread(layout, block, start + at)
            # A carrier between two LWPs looks like a kernel thread.
            if thread.is_user() or word(block, layout.pointer) == 0:
                found.append(thread)
    return sorted(found, key=lambda thread: thread.id)


def find(argument):
    wanted = argument.strip()
    if not wanted:
        raise gdb.GdbError("which thread? Give a number or a name; `lisle threads` lists them")
    found = [thread for thread in threads() if wanted in (str(thread.id), thread.name)]
    if not found:
        raise gdb.GdbError("no thread has the number or name %r; `lisle threads` lists them" % wanted)
    if len(found) > 1:
        numbers = ", ".join(str(thread.id) for thread in found)
        raise gdb.GdbError("several threads have the name %r; give a number: %s" % (wanted, numbers))
    return found[0]


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class Unwinder(gdb.unwinder.Unwinder):
    """Shows a parked thread as the caller of the innermost frame of one kernel thread."""

    def __init__(self):
        super().__init__("lisle")
        self.shown = None

    def show(self, thread):
        """`thread` None: nothing but what there is."""
        self.shown = None
        gdb.invalidate_cached_frames()
        if thread is None:
            return
        names = registers_of(gdb.newest_frame().architecture())
        values = thread.registers()
        top = gdb.newest_frame()
        here = tuple(int(top.read_register(name)) & (2**64 - 1) for name in names[:2])
        self.shown = (gdb.selected_thread().ptid, here, names, values)
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.shown is None:
            return None
        kernel_thread, here, names, values = self.shown
        selected = gdb.selected_thread()
        if selected is None or selected.ptid != kernel_thread:
            return None
        found = tuple(int(pending.read_register(name)) & (2**64 - 1) for name in names[:2])
        if found != here:
            return None
        number = pending.architecture().integer_type(64, False)
        value = lambda number_: gdb.Value(number_).cast(number)
        # The frame is said to lie below those that it seems to be called by: gdb checks that.
        frame = pending.create_unwind_info(FrameId(value(values[1] - 16), value(here[0])))
        for name, saved in zip(names, values):
            frame.add_saved_register(name, value(saved))
        return frame


def registers_of(architecture):
    for name, registers in REGISTERS.items():
        if name in architecture.name():
            return registers
    raise gdb.GdbError("lisle does not run on %s" % architecture.name())


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


def forget(_event):
    UNWINDER.shown = None


gdb.events.cont.connect(forget)


class Lisle(gdb.Command):
    """Commands for user threads of lisle: threads, thread NUMBER|NAME, bt NUMBER|NAME|all."""

    def __init__(self):
        super().__init__("lisle", gdb.COMMAND_STACK, prefix=True)


class Threads(gdb.Command):
    """lisle threads: lists the user threads, and the kernel threads that have called in."""

    def __init__(self):
        super().__init__("lisle threads", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        found = threads()
        for thread in found:
            print(thread)
        print("%d threads" % len(found))


class Switch(gdb.Command):
    """lisle thread NUMBER: shows a parked user thread as frames 1 and up of the selected kernel thread.
lisle thread: shows the kernel thread alone again."""

    def __init__(self):
        super().__init__("lisle thread", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        if not argument.strip():
            UNWINDER.show(None)
            gdb.execute("frame 0")
            return
        thread = find(argument)
        UNWINDER.show(thread)
        print(thread)
        gdb.execute("frame 1")


class Backtrace(gdb.Command):
    """lisle bt NUMBER: the backtrace of a parked user thread; lisle bt all: of all."""

    def __init__(self):
        super().__init__("lisle bt", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        if argument.strip() == "all":
            for thread in threads():
                if thread.is_user():
                    print("\n%s" % thread)
                    if not thread.lwp:
                        self.print(thread)
        else:
            thread = find(argument)
            print(thread)
            self.print(thread)

    def print(self, thread):
        before = UNWINDER.shown
        UNWINDER.show(thread)
        try:
            shown = gdb.execute("bt", to_string=True)
        finally:
            UNWINDER.shown = before
            gdb.invalidate_cached_frames()
        # Without frame 0, which is the kernel thread's.
        frames = re.split(r"^(?=#\d+ )", shown, flags=re.M)
        print("".join(frame for frame in frames if not frame.startswith("#0 ")), end="")


Lisle()
Threads()
Switch()
Backtrace()

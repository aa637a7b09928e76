//! Unwinding pinned stacks, and copies of stacks, by the tables that exceptions use; and
//! naming functions.
//!
//! framehop unwinds any stack of which it is given registers and memory; the
//! `backtrace` crate names what it finds. Only memory between a stack's ends is
//! ever read, so tables that are wrong end a backtrace, at worst, too early. The
//! tables are copied first, because libraries may be unloaded meanwhile.

use core::ffi::{c_int, c_void};
use core::ops::Range;
use core::{ptr, slice};
use std::time::Duration;

#[cfg(target_arch = "aarch64")]
use framehop::aarch64::{
    CacheAarch64 as Cache, UnwindRegsAarch64 as UnwindRegs, UnwinderAarch64 as NativeUnwinder,
};
#[cfg(target_arch = "x86_64")]
use framehop::x86_64::{
    CacheX86_64 as Cache, UnwindRegsX86_64 as UnwindRegs, UnwinderX86_64 as NativeUnwinder,
};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder as _};

use super::{Backtrace, Frame};
use crate::debug::ask::{Asking, Copied, Silence};
use crate::debug::pin::{Loose, Pinned};
use crate::tcb::Tcb;
use crate::thread::{State, ThreadInfo};

/// More calls than this are cut off.
const DEEPEST: usize = 256;

/// How often a thread is looked for that is neither parked nor runs, or has moved.
const ATTEMPTS: usize = 4;

/// How often all threads of a dump together are waited for that will soon be parked or free,
/// and how long each time.
const PAUSES: usize = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// Return addresses.
pub(in crate::debug) type Own = Vec<usize>;

/// Where the calling thread is.
#[inline(never)]
pub(in crate::debug) fn own_trace() -> Own {
    let mut addresses = Vec::with_capacity(DEEPEST);
    ::backtrace::trace(|frame| {
        // What ends a stack may look like a frame.
        addresses.extend(Some(frame.ip() as usize).filter(|address| *address != 0));
        addresses.len() < DEEPEST
    });
    addresses
}

/// What it takes to unwind, collected once for many threads.
pub(in crate::debug) struct Unwinder {
    native: NativeUnwinder<Vec<u8>>,
    cache: Cache,
    asking: Asking,
    pauses: usize,
}

impl Unwinder {
    pub(in crate::debug) fn new() -> Unwinder {
        let mut native = NativeUnwinder::new();
        loaded()
            .into_iter()
            .for_each(|module| native.add_module(module));
        Unwinder {
            native,
            cache: Cache::new(),
            asking: Asking::new(),
            pauses: PAUSES,
        }
    }

    /// Of a thread that the caller has a reference to and is not itself. Its runtime, or that of
    /// others, permits the signal.
    pub(in crate::debug) fn of(&mut self, thread: &'static Tcb, signal: Option<i32>) -> Backtrace {
        let mut addresses = Vec::with_capacity(DEEPEST);
        let mut attempts = 0..ATTEMPTS;
        while attempts.next().is_some() {
            let loose = match self.parked(thread, &mut addresses) {
                Ok(()) => return named(&addresses),
                Err(loose) => loose,
            };
            if !runs(thread) {
                // Another reader's kernel thread, or the one that parks this thread, may
                // have lost its processor halfway.
                let passes = loose == Loose::Taken || waits(thread);
                if passes && self.pauses > 0 {
                    self.pauses -= 1;
                    attempts = 0..ATTEMPTS;
                    crate::runtime::nap(PAUSE);
                }
                continue;
            }
            match self.asking.ask(thread, signal) {
                Ok(copied) => {
                    self.running(&copied, &mut addresses);
                    return named(&addresses);
                }
                Err(Silence::Moved) => {}
                Err(Silence::Because(why)) => return Backtrace(Err(why)),
            }
        }
        Backtrace(Err(
            "the thread is ready to run, or never stays where it is",
        ))
    }

    fn parked(&mut self, thread: &'static Tcb, into: &mut Vec<usize>) -> Result<(), Loose> {
        let pinned = Pinned::new(thread)?;
        // From here on nothing allocates.
        let stack = pinned.stack();
        let Some(start) = pinned.registers() else {
            return Ok(());
        };
        // A return address, for it is looked up as what lies before it: in the
        // function that called the switch.
        let at = FrameAddress::from_return_address(start.pc as u64);
        let registers = registers(start.pc, start.sp, start.fp);
        self.walk(at, registers, |address| pinned.read(&stack, address), into);
        Ok(())
    }

    fn running(&mut self, copied: &Copied, into: &mut Vec<usize>) {
        let from = copied.registers;
        let at = FrameAddress::from_instruction_pointer(from.pc as u64);
        let link = if cfg!(target_arch = "aarch64") {
            from.lr
        } else {
            from.pc
        };
        let registers = registers(link, from.sp, from.fp);
        self.walk(Some(at), registers, |address| copied.read(address), into);
        if let Some(first) = into.first_mut() {
            // As if it were a return address: see `named`.
            *first += 1;
        }
    }

    pub(in crate::debug) fn own(&mut self, addresses: &Own) -> Backtrace {
        named(addresses)
    }

    fn walk(
        &mut self,
        mut at: Option<FrameAddress>,
        mut registers: UnwindRegs,
        read: impl Fn(u64) -> Option<u64>,
        into: &mut Vec<usize>,
    ) {
        let mut read = |address| read(address).ok_or(());
        while let Some(address) = at {
            if into.len() == DEEPEST {
                return;
            }
            into.push(address.address() as usize);
            let next =
                self.native
                    .unwind_frame(address, &mut registers, &mut self.cache, &mut read);
            match next {
                Ok(Some(next)) => at = FrameAddress::from_return_address(next),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// Whether it runs, as far as can be seen; or waits with a kernel thread of its own.
fn runs(thread: &'static Tcb) -> bool {
    !thread.is_user() || ThreadInfo::of(thread).state == State::Running
}

/// Whether it waits, or is about to, or is suspended, as far as can be seen.
fn waits(thread: &'static Tcb) -> bool {
    thread.wait.has_begun() || ThreadInfo::of(thread).state == State::Suspended
}

/// `link`: where the function returns to that has called nothing, on processors with a register
/// for it; else where the thread is.
fn registers(link: usize, sp: usize, fp: usize) -> UnwindRegs {
    UnwindRegs::new(link as u64, sp as u64, fp as u64)
}

/// The functions at these addresses.
fn named(addresses: &[usize]) -> Backtrace {
    let mut frames = Vec::new();
    for address in addresses {
        let before = frames.len();
        // The call lies before what it returns to.
        ::backtrace::resolve((address - 1) as *mut c_void, |symbol| {
            let file = symbol.filename().map(|file| file.display().to_string());
            frames.push(Frame {
                address: *address,
                function: symbol.name().map(|name| format!("{name:#}")),
                source: file.zip(symbol.lineno()),
            });
        });
        if frames.len() == before {
            frames.push(Frame {
                address: *address,
                function: None,
                source: None,
            });
        }
    }
    Backtrace(Ok(frames))
}

/// The program and the libraries that are loaded.
fn loaded() -> Vec<Module<Vec<u8>>> {
    let mut modules: Vec<Module<Vec<u8>>> = Vec::new();
    // SAFETY: `each` gets what it is passed here, for the duration of the call.
    unsafe { libc::dl_iterate_phdr(Some(each), ptr::from_mut(&mut modules).cast()) };
    modules
}

/// # Safety
/// As `dl_iterate_phdr` calls it; the data is that of [`loaded`].
unsafe extern "C" fn each(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    modules: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module<Vec<u8>>>>()) };
    // SAFETY: the loader describes what is mapped, and keeps it so during the call.
    modules.extend(unsafe { module(info) });
    0
}

/// # Safety
/// What it describes is mapped.
unsafe fn module(info: &libc::dl_phdr_info) -> Option<Module<Vec<u8>>> {
    let base = info.dlpi_addr as usize;
    // SAFETY: the caller's promise.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let start = base + header.p_vaddr as usize;
        start..start + header.p_memsz as usize
    };
    let segments = || {
        headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
    };
    let code = segments()
        .filter(|header| header.p_flags & libc::PF_X != 0)
        .map(range);
    let code = code.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))?;
    let index = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
    let index = range(index);
    // SAFETY: it is mapped.
    let frames = unsafe { frames_of(&index) }?;
    // The tables do not say where they end; their segment does.
    let segment = segments()
        .map(range)
        .find(|segment| segment.contains(&frames))?;
    // SAFETY: parts of a segment that is mapped and only read.
    let copy = |range: &Range<usize>| unsafe {
        slice::from_raw_parts(range.start as *const u8, range.len()).to_vec()
    };
    let frames = frames..segment.end;
    let wide = |range: &Range<usize>| range.start as u64..range.end as u64;
    let sections = ExplicitModuleSectionInfo {
        base_svma: base as u64,
        text_svma: Some(wide(&code)),
        eh_frame_hdr_svma: Some(wide(&index)),
        eh_frame_hdr: Some(copy(&index)),
        eh_frame_svma: Some(wide(&frames)),
        eh_frame: Some(copy(&frames)),
        ..Default::default()
    };
    Some(Module::new(
        String::new(),
        wide(&code),
        base as u64,
        sections,
    ))
}

/// Where the tables lie that this index is for: its header says so, by an encoding of
/// which linkers write one form.
///
/// # Safety
/// The index is mapped.
unsafe fn frames_of(index: &Range<usize>) -> Option<usize> {
    const VERSION: u8 = 1;
    const RELATIVE_SIGNED_32: u8 = 0x1b;
    if index.len() < 8 {
        return None;
    }
    let at = index.start as *const u8;
    // SAFETY: the caller's promise.
    let (version, encoding, offset) = unsafe {
        (
            at.read(),
            at.add(1).read(),
            at.add(4).cast::<i32>().read_unaligned(),
        )
    };
    let known = version == VERSION && encoding == RELATIVE_SIGNED_32;
    known.then(|| (index.start + 4).wrapping_add_signed(offset as isize))
}

//! Looking at kernel threads, and what they run on.

use core::ffi::{CStr, c_long};
use core::mem::MaybeUninit;
use core::time::Duration;
use std::io;

use super::{Call, check, result};

/// What a kernel thread does, as the kernel sees it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KernelState {
    /// It runs, or could.
    Running,
    /// It waits in a system call or a page fault.
    Blocked,
}

/// What the kernel thread `tid` of this process does, which is not the calling one:
/// `/proc/self/task/TID/syscall`, 5 µs; where that may not be read, the state in `stat`. Allocates
/// nothing.
///
/// # Errors
/// If there is no such thread, no `/proc`, or no descriptor left.
#[track_caller]
pub fn kernel_state_of(tid: u32) -> io::Result<KernelState> {
    let mut head = [0u8; 64];
    match read_task(tid, b"/syscall\0", &mut head) {
        Ok(read) if read > 0 => Ok(match head[0] {
            b'r' => KernelState::Running,
            _ => KernelState::Blocked,
        }),
        _ => state_by_stat(tid),
    }
}

/// What exactly a kernel thread does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KernelCall {
    /// It runs, or could.
    Running,
    /// It waits in the system call with this number.
    Call(i64),
    /// It waits for something else, mostly for a page.
    Fault,
}

/// As [`kernel_state_of`], with the number of the system call.
///
/// # Errors
/// As for [`kernel_state_of`]; also where only `stat` may be read.
#[track_caller]
pub fn kernel_call_of(tid: u32) -> io::Result<KernelCall> {
    let mut head = [0u8; 64];
    let read = read_task(tid, b"/syscall\0", &mut head)?;
    let text = core::str::from_utf8(&head[..read]).unwrap_or_default();
    let number = match text.split_whitespace().next() {
        Some("running") => return Ok(KernelCall::Running),
        first => first.and_then(|word| word.parse::<i64>().ok()),
    };
    match number {
        Some(number) if number >= 0 => Ok(KernelCall::Call(number)),
        Some(_) => Ok(KernelCall::Fault),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether the kernel thread `tid` would not notice a signal whose handler has `SA_RESTART`: it runs, waits for a page, or
/// waits in a call that the kernel begins again. Of the calls that are begun again only some are known here, and those only
/// without a time limit; a limit on a socket cannot be seen.
///
/// # Errors
/// As for [`kernel_call_of`].
#[track_caller]
pub fn bears_a_signal(tid: u32) -> io::Result<bool> {
    let mut line = [0u8; 160];
    let read = read_task(tid, b"/syscall\0", &mut line)?;
    let mut words = core::str::from_utf8(&line[..read])
        .unwrap_or_default()
        .split_whitespace();
    let number = match words.next() {
        Some("running" | "-1") => return Ok(true),
        first => first.and_then(|word| word.parse::<c_long>().ok()),
    };
    Ok(match number {
        // The fourth argument is the limit.
        Some(libc::SYS_futex) => words.nth(3) == Some("0x0"),
        Some(
            libc::SYS_read
            | libc::SYS_write
            | libc::SYS_pread64
            | libc::SYS_pwrite64
            | libc::SYS_readv
            | libc::SYS_writev
            | libc::SYS_openat
            | libc::SYS_flock
            | libc::SYS_wait4
            | libc::SYS_waitid,
        ) => true,
        _ => false,
    })
}

/// The name of a system call in which threads are apt to wait.
pub fn call_name(number: i64) -> Option<&'static str> {
    let known = [
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_epoll_pwait, "epoll_pwait"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_waitid, "waitid"),
    ];
    let found = known.iter().find(|(call, _)| *call == number);
    found.map(|(_, name)| *name)
}

#[track_caller]
fn state_by_stat(tid: u32) -> io::Result<KernelState> {
    let mut line = [0u8; 64];
    let read = read_task(tid, b"/stat\0", &mut line)?;
    // TID (name) STATE …; the name has at most 16 bytes, and may hold anything.
    let after = line[..read].iter().rposition(|&byte| byte == b')');
    match after.and_then(|after| line.get(after + 2)) {
        Some(b'R') => Ok(KernelState::Running),
        Some(_) => Ok(KernelState::Blocked),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads the beginning of `/proc/self/task/TID` and `file`, which ends with a NUL.
#[track_caller]
fn read_task(tid: u32, file: &[u8], into: &mut [u8]) -> io::Result<usize> {
    check(Call::Open)?;
    const PREFIX: &[u8] = b"/proc/self/task/";
    let mut path = [0u8; 48];
    path[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut digits = [0u8; 10];
    let (mut left, mut first) = (tid, digits.len());
    while left > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let digits = &digits[first..];
    let end = PREFIX.len() + digits.len();
    path[PREFIX.len()..end].copy_from_slice(digits);
    path[end..end + file.len()].copy_from_slice(file);
    // SAFETY: a path that ends with a NUL; the buffer is writable; the descriptor is closed once.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let descriptor = result(c_long::from(libc::open(path.as_ptr().cast(), flags)))? as i32;
        let read = libc::read(descriptor, into.as_mut_ptr().cast(), into.len());
        let read = result(read as c_long);
        libc::close(descriptor);
        read.map(|read| read as usize)
    }
}

/// Processor time used by the kernel thread `tid` of this process.
///
/// # Errors
/// If there is no such thread.
#[track_caller]
pub fn cpu_time_of(tid: u32) -> io::Result<Duration> {
    check(Call::Clock)?;
    // The kernel's name for the scheduler's clock of one thread.
    const PER_THREAD_SCHED: i32 = 0b110;
    let clock = (!(tid as i32) << 3) | PER_THREAD_SCHED;
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills in the structure.
    result(c_long::from(unsafe {
        libc::clock_gettime(clock, now.as_mut_ptr())
    }))?;
    // SAFETY: filled in by the successful call.
    let now = unsafe { now.assume_init() };
    Ok(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
}

/// The CPUs that the calling kernel thread may use.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all zeroes is a set; the kernel fills it in.
    let set = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Vec::new();
        }
        set
    };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is inside the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Whether the calling kernel thread may say how it is scheduled: says what is so already.
#[track_caller]
pub fn may_choose_policy() -> bool {
    if check(Call::Sched).is_err() {
        return false;
    }
    // SAFETY: the structure is initialised; the calls concern the calling thread alone.
    unsafe {
        let mut parameters: libc::sched_param = core::mem::zeroed();
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0);
        policy >= 0
            && libc::syscall(libc::SYS_sched_getparam, 0, &raw mut parameters) == 0
            && libc::syscall(
                libc::SYS_sched_setscheduler,
                0,
                policy,
                &raw const parameters,
            ) == 0
    }
}

/// Names the calling kernel thread, of which the kernel keeps 15 bytes.
pub fn set_thread_name(name: &CStr) {
    // SAFETY: a string that ends with a zero. It cannot be refused.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Asks that the calling kernel thread, which mostly sleeps, runs soon when it is woken, and that its
/// short sleeps are as short as they say. A kernel that does not know such wishes ignores them.
pub fn hurry() {
    /// `struct sched_attr`, as of its first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    // SAFETY: takes no pointers. The bare call gives 20 - nice, which is never negative.
    let given = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) };
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 20 - given as i32,
        priority: 0,
        // Since Linux 6.12: the shortest slice there is, so the earliest deadline.
        runtime: 100_000,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the structure is initialised and concerns the calling thread, as does the other call.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as core::ffi::c_ulong, 0, 0, 0);
        if libc::syscall(libc::SYS_sched_getscheduler, 0) == c_long::from(libc::SCHED_OTHER) {
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

/// How many CPUs the machine has, allowed or not, switched on or not; at least one.
pub fn configured_cpus() -> usize {
    // SAFETY: no preconditions.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    usize::try_from(count).unwrap_or(0).max(1)
}

/// Makes the calling kernel thread run on this CPU only, and only when the CPU has nothing else to
/// do.
///
/// # Errors
/// If the CPU is not allowed, or a sandbox refuses.
#[track_caller]
pub fn become_idle_on(cpu: usize) -> io::Result<()> {
    check(Call::Sched)?;
    // SAFETY: both structures are initialised; they concern the calling thread alone.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let size = size_of::<libc::cpu_set_t>();
        result(c_long::from(libc::sched_setaffinity(0, size, &set)))?;
        // musl's has more fields.
        let parameters: libc::sched_param = core::mem::zeroed();
        // Not libc's function, which musl does not have.
        result(libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_IDLE,
            &raw const parameters,
        ))
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::{AtomicBool, Ordering};

    #[test]
    fn a_sleeper_is_blocked_and_a_runner_is_not() {
        let (sent, tid) = std::sync::mpsc::channel();
        let (wake, sleep) = std::sync::mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            sent.send(crate::sys::gettid() as u32).unwrap();
            let _ = sleep.recv();
        });
        let tid = tid.recv().unwrap();
        let call = || match kernel_call_of(tid).unwrap() {
            KernelCall::Call(number) => call_name(number),
            _ => None,
        };
        // It may wait for something else on its way, for memory say.
        while call() != Some("futex") {}
        while kernel_state_of(tid).unwrap() != KernelState::Blocked {}
        while state_by_stat(tid).unwrap() != KernelState::Blocked {}
        drop(wake);
        sleeper.join().unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let (sent, tid) = std::sync::mpsc::channel();
        let runner = std::thread::spawn({
            let stop = stop.clone();
            move || {
                sent.send(crate::sys::gettid() as u32).unwrap();
                while !stop.load(Ordering::Relaxed) {}
            }
        });
        let tid = tid.recv().unwrap();
        while kernel_state_of(tid).unwrap() != KernelState::Running {}
        while state_by_stat(tid).unwrap() != KernelState::Running {}
        stop.store(true, Ordering::Relaxed);
        runner.join().unwrap();
    }

    #[test]
    fn cpu_time_is_the_threads() {
        let own = crate::sys::gettid() as u32;
        let before = cpu_time_of(own).unwrap();
        while cpu_time_of(own).unwrap() == before {}
        assert!(cpu_time_of(u32::MAX >> 4).is_err());
    }

    #[test]
    fn some_cpu_is_allowed() {
        assert!(!allowed_cpus().is_empty());
    }
}

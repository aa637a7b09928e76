//! Making threads.

use std::io;

use lisle_lwp::current;
use lisle_lwp::shim::{Ordering, fence};
use lisle_lwp::stack::{Stack, StackPool, StackSize};
use lisle_lwp::sys::{self, Call};

use super::handle::{Home, JoinHandle};
use super::packet::{self, Slot};
use crate::current::me;
use crate::pool::{self, Identity};
use crate::runtime::{self, Runtime, Shared};
use crate::sched::lwp::{Lwp, count};
use crate::sched::policy::{DEFAULT_PRIORITY, PRIORITIES};
use crate::sched::{Entry, inject};
use crate::tcb::{Kind, Tcb};

/// Settings of a new thread; std's names, and a few more.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    priority: u8,
    runtime: Option<Runtime>,
    bound: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A thread without a name, with its runtime's stack size and the default
    /// priority, in the runtime of the thread that spawns it.
    pub fn new() -> Builder {
        Builder {
            name: None,
            stack_size: None,
            priority: DEFAULT_PRIORITY,
            runtime: None,
            bound: false,
        }
    }

    /// Its name, for observers and for the message of a stack overflow.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// Bytes reserved for its stack, rounded up to a power of two from 64 KiB to
    /// 64 MiB. Memory is used only where the stack is touched.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Its priority, below 64; higher is more urgent. Only the priority policy
    /// looks at it.
    pub fn priority(mut self, priority: u8) -> Builder {
        self.priority = priority;
        self
    }

    /// The runtime whose LWPs run it.
    pub fn on(mut self, runtime: &Runtime) -> Builder {
        self.runtime = Some(runtime.clone());
        self
    }

    /// A kernel thread of its own instead of LWPs (one-to-one): for code that
    /// changes what belongs to the kernel thread (signal mask, affinity,
    /// credentials …) or uses thread-locals. See [`Builder::spawn`].
    pub fn bound(mut self) -> Builder {
        self.bound = true;
        self
    }

    fn checked_name(&mut self) -> io::Result<Option<Box<str>>> {
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if usize::from(self.priority) >= PRIORITIES {
            return invalid("a thread's priority is below 64");
        }
        match self.name.take() {
            Some(name) if name.contains('\0') => invalid("a thread's name must not contain a NUL"),
            name => Ok(name.map(String::into_boxed_str)),
        }
    }

    /// Spawns a bound thread: a kernel thread of its own that is one of lisle's
    /// threads in every other respect (handle, park, cancel, listing). Safe,
    /// because it does not move and owns its thread-locals.
    ///
    /// # Errors
    /// If the system refuses a kernel thread; `InvalidInput` for settings that
    /// make no sense; `Unsupported` unless [`Builder::bound`] was asked for
    /// (a moving thread that owns its thread-locals is not available yet).
    ///
    /// ```
    /// let handle = lisle_runtime::thread::Builder::new().bound().spawn(|| 6 * 7)?;
    /// assert_eq!(handle.join().unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn<F, T>(mut self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.bound {
            let why = "only bound threads can be spawned safely yet: Builder::bound().spawn(), \
                       or spawn_light under its contract";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let name = self.checked_name()?;
        crate::fork::install();
        let mut kernel_thread = std::thread::Builder::new();
        if let Some(name) = &name {
            kernel_thread = kernel_thread.name(name.to_string());
        }
        if let Some(bytes) = self.stack_size {
            kernel_thread = kernel_thread.stack_size(bytes);
        }
        let block = pool::take_shared().ok_or(io::ErrorKind::OutOfMemory)?;
        let parent = me().id.load(Ordering::Relaxed);
        pool::publish(
            block,
            self.identity(Kind::Kernel, name, pool::next_id(), parent),
        );
        #[allow(clippy::disallowed_types)]
        let slot: Box<Slot<T>> = Box::new(Slot::new(core::mem::MaybeUninit::uninit()));
        let slot = Box::into_raw(slot);
        let owned = SendSlot(slot);
        let body = move || run_bound(block, owned, f);
        if let Err(error) = sys::guarded(Call::Clone, || kernel_thread.spawn(body)) {
            pool::release(block, None);
            // SAFETY: nobody else has it.
            drop(unsafe { Box::from_raw(slot) });
            return Err(error);
        }
        // SAFETY: thread and handle share the block's reference.
        Ok(unsafe { JoinHandle::new(block, slot, Home::Heap) })
    }

    /// Spawns a light thread: a user thread that borrows the thread-locals of
    /// whichever kernel thread runs it. The cheapest there is.
    ///
    /// # Safety
    /// A light thread may go on running on another kernel thread after every
    /// call that waits or yields. The caller promises that no function of `f`
    /// which, after inlining, contains such a call also touches a thread-local
    /// of the kernel thread, by itself or through a library: `thread_local!`,
    /// `println!` and the other standard streams, panics caught in between,
    /// random generators, `errno`. The compiler may keep the address of a
    /// thread-local over the call even where the source holds no reference.
    /// Touch them only in functions marked `#[inline(never)]` that do not wait.
    /// Less obvious ones are `HashMap::new` (its random keys),
    /// `std::thread::current`, `std::sync::mpsc`, loggers. Allocating, and a panic
    /// that ends the thread, are fine.
    ///
    /// Under the round-robin and seeded policies, calls that make another thread
    /// ready (unpark, spawn, a send) may yield.
    /// No value that is bound to a kernel thread (a guard that is not `Send`,
    /// say of `std::sync::Mutex`) lives over such a call.
    ///
    /// # Errors
    /// If the system refuses memory for stack or control block; `InvalidInput`
    /// for settings that make no sense, or if closure and result would take more
    /// than a twelfth of the stack; if the runtime has been shut down.
    ///
    /// ```
    /// use lisle_runtime::thread::Builder;
    /// // SAFETY: the closure touches no thread-local.
    /// let handle = unsafe { Builder::new().name("adder".into()).spawn_light(|| 1 + 1) }?;
    /// assert_eq!(handle.join().unwrap(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn spawn_light<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: passed on; `'static` outlives everything.
        unsafe { self.spawn_light_unchecked(f) }
    }

    /// As [`Builder::spawn_light`], without the bound on lifetimes.
    ///
    /// # Safety
    /// As [`Builder::spawn_light`]; and what `f` and its result borrow outlives
    /// the thread.
    pub unsafe fn spawn_light_unchecked<F, T>(mut self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let name = self.checked_name()?;
        let me = me();
        let result = match &self.runtime {
            Some(runtime) => self.spawn_in(runtime.shared(), me, name, f),
            None => {
                let own = me.shared.load(Ordering::Relaxed);
                // SAFETY: a runtime outlives its threads.
                match unsafe { own.as_ref() } {
                    Some(shared) => self.spawn_in(shared, me, name, f),
                    None => self.spawn_in(&*runtime::current()?, me, name, f),
                }
            }
        };
        crate::sched::end_of_slice();
        result
    }

    fn spawn_in<F, T>(
        &self,
        shared: &Shared,
        me: &'static Tcb,
        name: Option<Box<str>>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        if shared.is_stopping() || shared.generation != crate::fork::generation() {
            return Err(stopped());
        }
        let class = match self.stack_size {
            Some(bytes) => StackSize::new(bytes)?,
            None => shared.stack_size,
        };
        let lwp = me.lwp_of(shared);
        let (block, stack, id) = take(lwp, class)?;
        let (context, slot) = match packet::place(&stack, f) {
            Ok(placed) => placed,
            Err(error) => {
                StackPool::global().give(stack);
                pool::give_back(block);
                return Err(error);
            }
        };
        let parent = me.id.load(Ordering::Relaxed);
        pool::publish(block, self.identity(Kind::Light, name, id, parent));
        block
            .shared
            .store(core::ptr::from_ref(shared).cast_mut(), Ordering::Relaxed);
        block
            .parent
            .store(me.id.load(Ordering::Relaxed), Ordering::Relaxed);
        let accounts = u8::from(shared.accounts_cpu);
        block.accounts_cpu.store(accounts, Ordering::Relaxed);
        // SAFETY: nobody has seen the block yet.
        unsafe {
            block.context.with_mut(|saved| *saved = context);
            block.stack.with_mut(|home| *home = Some(stack));
        }
        match lwp {
            Some(lwp) => {
                let _entry = Entry::on(lwp);
                count(&lwp.counters.spawned, 1);
                // SAFETY: owner inside the runtime; the thread is ready.
                unsafe { lwp.push(block) };
            }
            None => {
                shared.spawned_elsewhere.fetch_add(1, Ordering::Relaxed);
                // Pairs with the fence in `stop`: either the runtime counts the
                // thread before it calls itself ended, or we see that it stops.
                fence(Ordering::SeqCst);
                if shared.is_stopping() {
                    shared.ended_elsewhere.fetch_add(1, Ordering::Release);
                    // SAFETY: nobody has seen the thread, and its body has not
                    // begun.
                    unsafe { packet::unplace::<F, T>(slot) };
                    // SAFETY: it never ran on its stack.
                    unsafe { crate::sched::free(block) };
                    return Err(stopped());
                }
                inject(block);
            }
        }
        // SAFETY: thread and handle share the block's reference.
        Ok(unsafe { JoinHandle::new(block, slot, Home::Stack) })
    }

    fn identity(&self, kind: Kind, name: Option<Box<str>>, id: u64, parent: u64) -> Identity {
        Identity {
            kind,
            priority: self.priority,
            name,
            id,
            parent,
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the runtime has been shut down")
}

impl Tcb {
    /// The LWP on which the running thread `self` runs, if it is one of
    /// `shared`'s and the thread is a user thread.
    fn lwp_of(&self, shared: &Shared) -> Option<&'static Lwp> {
        // SAFETY: LWPs outlive the threads they run.
        let lwp = unsafe { self.lwp.load(Ordering::Relaxed).as_ref() }?;
        (self.is_user() && core::ptr::eq(lwp.shared, shared)).then_some(lwp)
    }
}

/// A control block, a stack and a number, from what the LWP has at hand if it
/// has.
fn take(lwp: Option<&Lwp>, class: StackSize) -> io::Result<(&'static Tcb, Stack, u64)> {
    let (block, stack, id) = match lwp {
        Some(lwp) => {
            let _entry = Entry::on(lwp);
            // SAFETY: owner inside the runtime; no other reference is alive.
            unsafe {
                let block = (*lwp.blocks.get()).take_cached();
                (block, (*lwp.stacks.get()).take_cached(class), lwp.next_id())
            }
        }
        None => (None, None, pool::next_id()),
    };
    let stack = match stack {
        Some(stack) => Ok(stack),
        None => StackPool::global().take(class),
    };
    match (block.or_else(pool::take_shared), stack) {
        (Some(block), Ok(stack)) => Ok((block, stack, id)),
        (block, stack) => {
            if let Some(block) = block {
                pool::give_back(block);
            }
            let stack = stack?;
            StackPool::global().give(stack);
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }
}

struct SendSlot<T>(*mut Slot<T>);

// SAFETY: the slot is handed to the one thread that writes it; `T` is `Send`.
unsafe impl<T: Send> Send for SendSlot<T> {}

/// The body of a bound thread's kernel thread.
fn run_bound<F: FnOnce() -> T, T>(block: &'static Tcb, slot: SendSlot<T>, f: F) {
    current::set(core::ptr::from_ref(block).cast());
    // SAFETY: the slot lives until thread and handle have left it.
    packet::run(block, f, unsafe { &*slot.0 });
    if block.join.exited() {
        // SAFETY: the last of thread and handle to leave frees the slot. Its
        // result has been dropped or taken.
        drop(unsafe { Box::from_raw(slot.0) });
        pool::release(block, None);
    }
    current::set(core::ptr::null());
}

//! Who holds a lock, for reports of deadlocks: the feature `deadlock_detection`.
//!
//! Without the feature this is nothing: no memory, no instruction. With it, a store
//! whenever a lock is taken, and one whenever it is left.
//!
//! *Ordering*: none. Whoever reads it looks twice, at all that is concerned.

#[cfg(all(feature = "deadlock_detection", not(lisle_loom)))]
pub(crate) use self::known::Owner;
#[cfg(not(all(feature = "deadlock_detection", not(lisle_loom))))]
pub(crate) use self::unknown::Owner;

#[cfg(all(feature = "deadlock_detection", not(lisle_loom)))]
mod known {
    use lisle_lwp::shim::{AtomicU64, Ordering};
    use lisle_runtime::wait::inherit::Holder;

    /// The number of the thread that holds a lock, 0 if nobody does.
    #[derive(Debug)]
    pub(crate) struct Owner(AtomicU64);

    impl Owner {
        pub(crate) const fn new() -> Owner {
            Owner(AtomicU64::new(0))
        }

        /// The calling thread has taken the lock.
        #[inline]
        pub(crate) fn taken(&self) {
            self.0.store(Holder::current().id(), Ordering::Relaxed);
        }

        /// The holder is about to leave the lock.
        #[inline]
        pub(crate) fn leaves(&self) {
            self.0.store(0, Ordering::Relaxed);
        }

        pub(crate) fn id(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }
}

#[cfg(not(all(feature = "deadlock_detection", not(lisle_loom))))]
mod unknown {
    /// Not known.
    #[derive(Debug)]
    pub(crate) struct Owner;

    impl Owner {
        #[inline(always)]
        pub(crate) const fn new() -> Owner {
            Owner
        }

        #[inline(always)]
        pub(crate) fn taken(&self) {}

        #[inline(always)]
        pub(crate) fn leaves(&self) {}

        #[inline(always)]
        pub(crate) fn id(&self) -> u64 {
            0
        }
    }
}

//! Permits as values that give themselves back.

use core::mem;
use std::sync::Arc;

use super::Semaphore;

/// Permits of a semaphore, given back when this is dropped: by a panic or a cancel,
/// too. Several may be held as one. It does not outlive the semaphore:
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let permit = {
///     let semaphore = lisle::sync::Semaphore::new(1);
///     semaphore.acquire().unwrap()
/// };
/// ```
///
/// But it goes from thread to thread:
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// static SLOTS: lisle::sync::Semaphore = lisle::sync::Semaphore::new(1);
/// let permit = SLOTS.acquire().unwrap();
/// std::thread::spawn(move || drop(permit)).join().unwrap();
/// assert_eq!(SLOTS.available_permits(), 1);
/// ```
#[derive(Debug)]
#[must_use = "an unused permit is given back at once"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

/// As [`SemaphorePermit`], with a share in the semaphore: for other threads and for
/// structures.
#[derive(Debug)]
#[must_use = "an unused permit is given back at once"]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

impl<'a> SemaphorePermit<'a> {
    #[inline]
    pub(super) fn new(semaphore: &'a Semaphore, permits: usize) -> Self {
        SemaphorePermit { semaphore, permits }
    }

    /// Takes part of the permits off, if there are that many.
    pub fn split(&mut self, permits: usize) -> Option<Self> {
        self.permits = self.permits.checked_sub(permits)?;
        Some(SemaphorePermit::new(self.semaphore, permits))
    }
}

impl OwnedSemaphorePermit {
    pub(super) fn new(semaphore: Arc<Semaphore>, permits: usize) -> Self {
        OwnedSemaphorePermit { semaphore, permits }
    }

    /// Takes part of the permits off, if there are that many.
    pub fn split(&mut self, permits: usize) -> Option<Self> {
        self.permits = self.permits.checked_sub(permits)?;
        Some(OwnedSemaphorePermit::new(self.semaphore.clone(), permits))
    }

    /// The semaphore.
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }
}

macro_rules! permits {
    ($($permit:ty),*) => {
        $(
            impl $permit {
                /// Gives the permits up: nobody gets them back.
                pub fn forget(mut self) {
                    self.permits = 0;
                }

                /// Adds the permits of another one to these.
                ///
                /// # Panics
                /// If they are another semaphore's.
                #[track_caller]
                pub fn merge(&mut self, mut other: Self) {
                    let (ours, theirs): (&Semaphore, &Semaphore) =
                        (&self.semaphore, &other.semaphore);
                    assert!(
                        core::ptr::eq(ours, theirs),
                        "merging permits of different semaphores"
                    );
                    self.permits += mem::take(&mut other.permits);
                }

                /// How many permits these are.
                pub fn num_permits(&self) -> usize {
                    self.permits
                }
            }

            impl Drop for $permit {
                #[inline]
                fn drop(&mut self) {
                    if self.permits > 0 {
                        self.semaphore.give_back(self.permits);
                    }
                }
            }
        )*
    };
}

permits!(SemaphorePermit<'_>, OwnedSemaphorePermit);

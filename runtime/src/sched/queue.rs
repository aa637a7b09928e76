//! Queues of ready threads, linked through their control blocks.
//!
//! [`ReadyList`] belongs to one owner at a time and has no atomics to speak of.
//! [`Injector`] takes threads from anywhere: a stack of links that is always
//! taken whole, so there is no ABA, and reversed by the taker, so that threads
//! leave in the order in which they came.
//!
//! *Invariant*: a thread is in at most one queue, and nobody else touches its
//! `link` meanwhile.

use core::ptr;

use lisle_lwp::shim::{AtomicPtr, Ordering};

use crate::tcb::Tcb;

/// A first-in, first-out list of ready threads.
#[derive(Debug)]
pub struct ReadyList {
    head: *const Tcb,
    tail: *const Tcb,
    len: usize,
}

// SAFETY: the list owns the threads it links, whichever kernel thread holds it.
unsafe impl Send for ReadyList {}

impl Default for ReadyList {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadyList {
    /// An empty list.
    pub const fn new() -> ReadyList {
        ReadyList {
            head: ptr::null(),
            tail: ptr::null(),
            len: 0,
        }
    }

    /// How many threads it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, thread: &'static Tcb) {
        thread.link.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: blocks live for ever, and the list owns those it links.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail
                .link
                .store(ptr::from_ref(thread).cast_mut(), Ordering::Relaxed),
            None => self.head = thread,
        }
        self.tail = thread;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_front(&mut self, thread: &'static Tcb) {
        thread.link.store(self.head.cast_mut(), Ordering::Relaxed);
        if self.head.is_null() {
            self.tail = thread;
        }
        self.head = thread;
        self.len += 1;
    }

    /// Appends all threads of another list, which is empty then.
    pub(crate) fn append(&mut self, other: &mut ReadyList) {
        // SAFETY: as in `push_back`.
        match unsafe { self.tail.as_ref() } {
            _ if other.is_empty() => return,
            Some(tail) => tail.link.store(other.head.cast_mut(), Ordering::Relaxed),
            None => self.head = other.head,
        }
        self.tail = other.tail;
        self.len += other.len;
        *other = ReadyList::new();
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<&'static Tcb> {
        // SAFETY: as in `push_back`.
        let thread = unsafe { self.head.as_ref() }?;
        self.head = thread.link.load(Ordering::Relaxed);
        if self.head.is_null() {
            self.tail = ptr::null();
        }
        self.len -= 1;
        Some(thread)
    }

    /// The first thread, left in place.
    #[inline(always)]
    pub(crate) fn front(&self) -> Option<&'static Tcb> {
        // SAFETY: as in `push_back`.
        unsafe { self.head.as_ref() }
    }

    /// The thread behind the first one, left in place.
    #[inline(always)]
    pub(crate) fn second(&self) -> Option<&'static Tcb> {
        // SAFETY: as in `push_back`.
        unsafe { self.front()?.link.load(Ordering::Relaxed).as_ref() }
    }

    /// Removes the first thread and appends `thread`. The list is not empty.
    #[inline(always)]
    pub(crate) fn rotate(&mut self, thread: &'static Tcb) {
        let me = ptr::from_ref(thread).cast_mut();
        thread.link.store(ptr::null_mut(), Ordering::Relaxed);
        if ptr::eq(self.head, self.tail) {
            // Not through memory: this is what two threads do all the time.
            self.head = me;
        } else {
            // SAFETY: the list is not empty and owns what it links.
            unsafe {
                (*self.tail).link.store(me, Ordering::Relaxed);
                self.head = (*self.head).link.load(Ordering::Relaxed);
            }
        }
        self.tail = me;
    }

    /// Removes the thread at `index`, counted from the front.
    pub(crate) fn remove(&mut self, index: usize) -> Option<&'static Tcb> {
        if index == 0 {
            return self.pop_front();
        }
        // SAFETY: as in `push_back`; the walk stays within the list.
        unsafe {
            let mut before = self.head.as_ref()?;
            for _ in 1..index {
                before = before.link.load(Ordering::Relaxed).as_ref()?;
            }
            let thread: &'static Tcb = before.link.load(Ordering::Relaxed).as_ref()?;
            let after = thread.link.load(Ordering::Relaxed);
            before.link.store(after, Ordering::Relaxed);
            if after.is_null() {
                self.tail = before;
            }
            self.len -= 1;
            Some(thread)
        }
    }
}

/// Where threads become ready that no LWP's own thread made ready.
#[derive(Debug)]
pub struct Injector {
    newest: AtomicPtr<Tcb>,
}

impl Default for Injector {
    fn default() -> Self {
        Self::new()
    }
}

impl Injector {
    lisle_lwp::const_unless_loom! {
        /// An empty injector.
        pub fn new() -> Injector {
            Injector { newest: AtomicPtr::new(ptr::null_mut()) }
        }
    }

    /// Adds a ready thread. Any thread may call it.
    pub(crate) fn push(&self, thread: &'static Tcb) {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            thread.link.store(newest, Ordering::Relaxed);
            let me = ptr::from_ref(thread).cast_mut();
            // Release: pairs with the Acquire in `take_all`.
            match self.newest.compare_exchange_weak(
                newest,
                me,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Whether it looks empty.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }

    /// Takes all threads; `each` gets them oldest first.
    pub(crate) fn take_all(&self, mut each: impl FnMut(&'static Tcb)) -> usize {
        if self.is_empty() {
            return 0;
        }
        // Acquire: pairs with the Release in `push`.
        let mut newest = self
            .newest
            .swap(ptr::null_mut(), Ordering::Acquire)
            .cast_const();
        let mut oldest: *const Tcb = ptr::null();
        // SAFETY: blocks live for ever; the chain is ours since the swap.
        while let Some(thread) = unsafe { newest.as_ref() } {
            newest = thread.link.load(Ordering::Relaxed);
            thread.link.store(oldest.cast_mut(), Ordering::Relaxed);
            oldest = thread;
        }
        let mut taken = 0;
        // SAFETY: as above. The link is read before `each` may reuse it.
        while let Some(thread) = unsafe { oldest.as_ref() } {
            oldest = thread.link.load(Ordering::Relaxed);
            each(thread);
            taken += 1;
        }
        taken
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    fn threads(n: usize) -> Vec<&'static Tcb> {
        (0..n)
            .map(|_| &*Box::leak(Box::new(Tcb::blank())))
            .collect()
    }

    fn is(a: Option<&'static Tcb>, b: &'static Tcb) -> bool {
        a.is_some_and(|a| ptr::eq(a, b))
    }

    #[test]
    fn list_is_first_in_first_out() {
        let t = threads(3);
        let mut list = ReadyList::new();
        t.iter().for_each(|t| list.push_back(t));
        assert!(is(list.pop_front(), t[0]) && is(list.pop_front(), t[1]));
        list.push_back(t[0]);
        assert!(is(list.pop_front(), t[2]) && is(list.pop_front(), t[0]));
        assert!(list.pop_front().is_none() && list.is_empty());
    }

    #[test]
    fn list_is_appended_to_another() {
        let t = threads(4);
        let (mut list, mut other) = (ReadyList::new(), ReadyList::new());
        list.append(&mut other);
        assert!(list.is_empty());
        other.push_front(t[1]);
        other.push_front(t[0]);
        list.append(&mut other);
        other.push_front(t[3]);
        other.push_front(t[2]);
        list.append(&mut other);
        list.append(&mut other);
        assert!(list.len() == 4 && other.is_empty());
        assert!(t.iter().all(|t| is(list.pop_front(), t)));
        assert!(list.is_empty());
    }

    #[test]
    fn threads_are_put_at_either_end_of_a_list() {
        let t = threads(4);
        let mut list = ReadyList::new();
        list.push_front(t[1]);
        list.push_back(t[2]);
        list.push_front(t[0]);
        list.push_back(t[3]);
        assert_eq!(list.len(), 4);
        assert!(t.iter().all(|t| is(list.pop_front(), t)));
        assert!(list.pop_front().is_none() && list.is_empty());
    }

    #[test]
    fn list_removes_anywhere() {
        let t = threads(4);
        let mut list = ReadyList::new();
        t.iter().for_each(|t| list.push_back(t));
        assert!(is(list.remove(3), t[3]) && is(list.remove(1), t[1]));
        assert!(list.remove(2).is_none());
        list.push_back(t[3]);
        assert!(is(list.remove(0), t[0]) && is(list.pop_front(), t[2]));
        assert!(is(list.pop_front(), t[3]) && list.is_empty());
    }

    #[test]
    fn injector_keeps_the_order() {
        let t = threads(5);
        let injector = Injector::new();
        t.iter().for_each(|t| injector.push(t));
        let mut seen = Vec::new();
        assert_eq!(injector.take_all(|t| seen.push(t)), 5);
        assert!(seen.iter().zip(&t).all(|(a, b)| ptr::eq(*a, *b)));
        assert!(injector.is_empty());
    }

    #[test]
    fn injector_stampede() {
        let injector = Injector::new();
        let mut got = 0;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| threads(1_000).into_iter().for_each(|t| injector.push(t)));
            }
            while got < 3_000 {
                got += injector.take_all(|_| ());
            }
        });
        assert!(injector.is_empty());
    }
}

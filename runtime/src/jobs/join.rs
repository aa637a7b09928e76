//! `join`: two closures, on whichever thread.

use crate::current::me;

/// Runs both closures, perhaps in parallel, and returns their results, as
/// `rayon::join`. Starts no thread by itself: `a` runs on the calling thread, and
/// so does `b` afterwards, unless somebody who is idle has taken it meanwhile.
///
/// *Who takes `b`*: an idle LWP of the caller's runtime; if the caller is no user
/// thread, of the default runtime, which is started if need be. It runs `b` on a
/// full thread, with thread-locals of its own; `b` then has the stack size of
/// that runtime. Where full threads are not available
/// ([`full_threads`](crate::thread::full_threads)), or the default runtime cannot
/// start, everything runs on the calling thread, and `a` must not wait for `b`.
///
/// *Waiting*. Both closures may wait for what they like, also for each other: a
/// thread that waits, by any call of lisle's, offers what it has noted to all
/// LWPs. But one that waits for the other in a loop, or in a call that lisle does
/// not know, may wait for ever. If somebody took `b`, the caller waits for its
/// end; nothing else runs on its stack meanwhile.
///
/// *Cancellation*. Both closures have ended before a cancel of the caller goes
/// on to unwind it. What runs on the caller's thread sees the cancel at its
/// cancellation points; a thread that took `b` is cancelled when the caller
/// begins to wait for it.
///
/// *Fairness*. The oldest job of a thread is offered first, and jobs are taken
/// in the order in which they were offered.
///
/// # Panics
/// Both closures always run to their ends. If one panicked, its panic goes on in
/// the caller; if both did, that of `a`. In a forked child the panic's payload is
/// [`ForkedError`](crate::thread::ForkedError) if `b` had been taken before.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::jobs::join;
///
/// fn sort<T: Ord + Send>(items: &mut [T]) {
///     if items.len() < 2 {
///         return;
///     }
///     let (mut split, last) = (0, items.len() - 1);
///     for i in 0..last {
///         if items[i] < items[last] {
///             items.swap(i, split);
///             split += 1;
///         }
///     }
///     items.swap(split, last);
///     let (left, right) = items.split_at_mut(split);
///     join(|| sort(left), || sort(&mut right[1..]));
/// }
///
/// let mut digits = [3, 1, 4, 1, 5, 9, 2, 6, 5];
/// sort(&mut digits);
/// assert_eq!(digits, [1, 1, 2, 3, 4, 5, 5, 6, 9]);
/// ```
///
/// What may not go to another thread is refused, and so are two that change the same:
///
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// let count = std::rc::Rc::new(1);
/// lisle::jobs::join(|| (), || drop(count));
/// ```
/// ```compile_fail,E0499
/// # use lisle_runtime as lisle;
/// let mut sum = 0;
/// lisle::jobs::join(|| sum += 1, || sum += 2);
/// ```
#[inline]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    me().jobs.join(|_| a(), |_| b())
}

//! `cobegin`: any number of closures.

use super::{Scope, scope};

/// Runs all closures, perhaps in parallel, and returns their results in their
/// order. They come from whatever can be iterated over: an array, a vector, an
/// iterator; for closures of several types there is
/// [`cobegin!`](macro@crate::cobegin).
///
/// As [`join`](fn@super::join) of the first half and the second, down to single
/// closures: all of them have ended when it returns or unwinds, they may wait for
/// each other, and none gets a thread before somebody is there to run it.
///
/// # Panics
/// All closures run to their ends. If any panicked, the panic of the first of
/// them goes on in the caller.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::jobs::cobegin;
///
/// let words = ["to", "be", "or", "not"];
/// let lengths = cobegin(words.iter().map(|word| || word.len()));
/// assert_eq!(lengths, [2, 2, 2, 3]);
/// ```
///
/// What may not go to another thread is refused, also as a result:
///
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// let count = std::rc::Rc::new(1);
/// lisle::jobs::cobegin([|| drop(count)]);
/// ```
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// lisle::jobs::cobegin([|| std::rc::Rc::new(1)]);
/// ```
pub fn cobegin<I, T>(closures: I) -> Vec<T>
where
    I: IntoIterator,
    I::Item: FnOnce() -> T + Send,
    T: Send,
{
    let mut branches: Vec<_> = closures.into_iter().map(Branch::Begins).collect();
    scope(|s| run(s, &mut branches));
    let results = branches.into_iter().map(|branch| match branch {
        Branch::Ended(result) => result,
        _ => unreachable!("it has ended, or its panic goes on"),
    });
    results.collect()
}

enum Branch<F, T> {
    Begins(F),
    Runs,
    Ended(T),
}

fn run<F: FnOnce() -> T + Send, T: Send>(s: &Scope, branches: &mut [Branch<F, T>]) {
    match branches {
        [] => {}
        [branch] => {
            if let Branch::Begins(closure) = core::mem::replace(branch, Branch::Runs) {
                *branch = Branch::Ended(closure());
            }
        }
        _ => {
            let (left, right) = branches.split_at_mut(branches.len().div_ceil(2));
            s.join(|s| run(s, left), |s| run(s, right));
        }
    }
}

/// Runs all closures, perhaps in parallel, and returns the tuple of their
/// results. As [`cobegin`](fn@crate::jobs::cobegin), for closures of several types; as
/// [`join`](fn@crate::jobs::join) of the first and the others.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::cobegin;
///
/// let text = "nine words, or so, in one string of text";
/// let (words, longest, vowels) = cobegin!(
///     || text.split(' ').count(),
///     || text.split(' ').max_by_key(|word| word.len()),
///     || text.chars().filter(|c| "aeiou".contains(*c)).count(),
/// );
/// assert_eq!((words, longest, vowels), (9, Some("string"), 11));
/// ```
#[macro_export]
macro_rules! cobegin {
    ($($closure:expr),+ $(,)?) => {
        $crate::__cobegin!(@take [] $($closure,)+)
    };
}

/// The steps of `cobegin!`: each closure gets a name, which afterwards is that of
/// its result.
#[doc(hidden)]
#[macro_export]
macro_rules! __cobegin {
    (@take [$($name:ident)*] $closure:expr, $($rest:tt)*) => {
        match $closure {
            named => $crate::__cobegin!(@take [$($name)* named] $($rest)*),
        }
    };
    (@take [$($name:ident)+]) => {{
        let $crate::__cobegin!(@results $($name)+) = $crate::__cobegin!(@run $($name)+);
        ($($name,)+)
    }};
    (@results $name:ident) => { $name };
    (@results $name:ident $($rest:ident)+) => {
        ($name, $crate::__cobegin!(@results $($rest)+))
    };
    (@run $name:ident) => { $name() };
    (@run $name:ident $($rest:ident)+) => {
        $crate::jobs::join($name, move || $crate::__cobegin!(@run $($rest)+))
    };
}

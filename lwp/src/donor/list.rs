//! Lists of donors, linked through the donors' own records. Giving and taking allocates nothing and
//! makes no system call.

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::{Control, Donor, Ended, Starting};
use crate::stack::{CLASSES, StackSize};

/// A donor in one of its states, as its record; see [`Donor`], [`Starting`], [`Ended`].
pub trait Stage: sealed::Stage {}

pub(super) mod sealed {
    use super::{Control, NonNull};

    #[allow(private_interfaces)]
    pub trait Stage: Sized {
        fn into_record(self) -> NonNull<Control>;

        /// # Safety
        /// The record comes from `into_record` of the same type, and is used once.
        unsafe fn from_record(record: NonNull<Control>) -> Self;
    }
}

macro_rules! stage {
    ($type:ident) => {
        #[allow(private_interfaces)]
        impl sealed::Stage for $type {
            #[inline]
            fn into_record(self) -> NonNull<Control> {
                self.0
            }

            #[inline]
            unsafe fn from_record(record: NonNull<Control>) -> Self {
                $type(record)
            }
        }

        impl Stage for $type {}
    };
}

stage!(Donor);
stage!(Starting);
stage!(Ended);

/// A list, last in, first out.
#[derive(Debug)]
pub struct List<T> {
    head: Option<NonNull<Control>>,
    len: usize,
    _owns: PhantomData<T>,
}

// SAFETY: the list owns what it links.
unsafe impl<T: Send> Send for List<T> {}

impl<T: Stage> List<T> {
    /// An empty list.
    pub const fn new() -> List<T> {
        List {
            head: None,
            len: 0,
            _owns: PhantomData,
        }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one.
    #[inline]
    pub fn push(&mut self, one: T) {
        let record = one.into_record();
        // SAFETY: the record is ours from here on.
        unsafe { record.as_ref() }
            .next
            .with_mut(|next| unsafe { *next = self.head });
        self.head = Some(record);
        self.len += 1;
    }

    /// Takes the one added last.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let record = self.head?;
        // SAFETY: the list owns what it links.
        self.head = unsafe { record.as_ref() }
            .next
            .with(|next| unsafe { *next });
        self.len -= 1;
        // SAFETY: `push` took it apart.
        Some(unsafe { T::from_record(record) })
    }
}

impl<T: Stage> Default for List<T> {
    fn default() -> Self {
        List::new()
    }
}

/// Idle donors of all stack sizes.
#[derive(Debug)]
pub struct Donors {
    lists: [List<Donor>; CLASSES],
    len: usize,
}

impl Donors {
    /// None.
    pub const fn new() -> Donors {
        Donors {
            lists: [const { List::new() }; CLASSES],
            len: 0,
        }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a donor.
    #[inline]
    pub fn give(&mut self, donor: Donor) {
        self.lists[donor.stack().class().index()].push(donor);
        self.len += 1;
    }

    /// The donor given last with a stack of this class.
    #[inline]
    pub fn take(&mut self, class: StackSize) -> Option<Donor> {
        self.take_from(class.fitting_libc().index())
    }

    /// Some donor.
    pub fn take_any(&mut self) -> Option<Donor> {
        let index = self.lists.iter().position(|list| !list.is_empty())?;
        self.take_from(index)
    }

    #[inline]
    fn take_from(&mut self, index: usize) -> Option<Donor> {
        let donor = self.lists[index].pop()?;
        self.len -= 1;
        Some(donor)
    }
}

impl Default for Donors {
    fn default() -> Self {
        Donors::new()
    }
}

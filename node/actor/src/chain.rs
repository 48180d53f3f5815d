//! A queue of links: what a mailbox holds once its process has seen it.
//!
//! Unlike a `VecDeque` it gives back its memory as it shrinks, takes links from anywhere in it at the cost of
//! a step each, and a link moves between queues without being copied.
//!
//! Unsafe code, with these invariants: every node is owned by exactly one [`Link`], [`Chain`] or
//! [`Gate`](crate::gate::Gate); `last` is the last node of those that `first` leads to, and both are null or
//! none is; `seen` is null or a node of the chain.
#![expect(unsafe_code, reason = "an intrusive list over raw nodes; docs/adr/0007")]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, null_mut};

use crate::brick;

/// A place in a queue. Aligned so that a pointer to it has three bits to spare.
#[repr(align(8))]
pub(crate) struct Node<T> {
    next: *mut Node<T>,
    item: T,
}

/// A node that is in no queue.
pub(crate) struct Link<T>(NonNull<Node<T>>, PhantomData<Node<T>>);

// SAFETY: a link owns its item, and nothing else is shared.
unsafe impl<T: Send> Send for Link<T> {}

impl<T> Link<T> {
    #[inline]
    pub(crate) fn new(item: T) -> Self {
        Self(brick::lay(Node { next: null_mut(), item }), PhantomData)
    }

    #[inline]
    pub(crate) fn item(&self) -> &T {
        // SAFETY: it owns the node.
        unsafe { &(*self.0.as_ptr()).item }
    }

    #[inline]
    pub(crate) fn into_item(self) -> T {
        // SAFETY: it owns the node, which came from `lay`, and is forgotten.
        unsafe { brick::lift(ManuallyDrop::new(self).0) }.item
    }

    /// Gives the node up to whoever takes the pointer, linked to `next`.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut Node<T> {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `node` is not null, came from [`into_raw`](Self::into_raw) and is owned by the caller.
    #[inline]
    pub(crate) unsafe fn from_raw(node: *mut Node<T>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(node) }, PhantomData)
    }

    /// # Safety
    /// The caller owns `node`, which is not null.
    #[inline]
    pub(crate) unsafe fn set_next(node: *mut Node<T>, next: *mut Node<T>) {
        // SAFETY: the caller's promise.
        unsafe { (*node).next = next };
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        // SAFETY: it owns the node, and nobody sees it after this.
        drop(unsafe { brick::lift(self.0) });
    }
}

/// Links in a row.
pub(crate) struct Chain<T> {
    first: *mut Node<T>,
    last: *mut Node<T>,
    /// The last node that the search under way has passed; null at its start.
    seen: *mut Node<T>,
    items: PhantomData<Node<T>>,
}

// SAFETY: a chain owns its nodes, and nothing else is shared.
unsafe impl<T: Send> Send for Chain<T> {}

impl<T> Chain<T> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { first: null_mut(), last: null_mut(), seen: null_mut(), items: PhantomData }
    }

    /// The nodes that `newest` leads to, the oldest first.
    ///
    /// # Safety
    /// The caller owns all these nodes, and the last one leads to null.
    #[inline]
    pub(crate) unsafe fn reversed(newest: *mut Node<T>) -> Self {
        let mut chain =
            Self { first: null_mut(), last: newest, seen: null_mut(), items: PhantomData };
        let mut node = newest;
        while !node.is_null() {
            // SAFETY: the caller owns the node.
            let older = unsafe { std::mem::replace(&mut (*node).next, chain.first) };
            chain.first = node;
            node = older;
        }
        chain
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    #[inline]
    pub(crate) fn push(&mut self, link: Link<T>) {
        let node = link.into_raw();
        // SAFETY: the link owned its node; `last`, when there is one, is ours.
        unsafe {
            (*node).next = null_mut();
            match self.last.is_null() {
                true => self.first = node,
                false => (*self.last).next = node,
            }
        }
        self.last = node;
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Link<T>> {
        (!self.first.is_null()).then(|| self.unlink(null_mut()))
    }

    /// Whether all items are such.
    #[inline]
    pub(crate) fn all(&self, mut is: impl FnMut(&T) -> bool) -> bool {
        let mut node = self.first;
        // SAFETY: each is null or a node of ours.
        while let Some(here) = unsafe { node.as_ref() } {
            if !is(&here.item) {
                return false;
            }
            node = here.next;
        }
        true
    }

    /// Puts all links of another chain last.
    #[inline]
    pub(crate) fn append(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        let other = ManuallyDrop::new(other);
        match self.last.is_null() {
            true => self.first = other.first,
            // SAFETY: `last` is ours, and the nodes of the other are ours from here on.
            false => unsafe { (*self.last).next = other.first },
        }
        self.last = other.last;
    }

    /// The first item.
    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        // SAFETY: it is null or a node of ours.
        unsafe { self.first.as_ref() }.map(|node| &node.item)
    }

    /// Starts a search anew.
    #[inline]
    pub(crate) fn rewind(&mut self) {
        self.seen = null_mut();
    }

    /// Takes the first item that is wanted, of those that the search under way has not passed yet. Once
    /// something was taken, it passes none of them again until it is rewound.
    #[inline]
    pub(crate) fn find<R>(
        &mut self,
        mut wants: impl FnMut(&T) -> Option<R>,
    ) -> Option<(R, Link<T>)> {
        loop {
            let node = match self.seen.is_null() {
                true => self.first,
                // SAFETY: `seen` is a node of ours.
                false => unsafe { (*self.seen).next },
            };
            if node.is_null() {
                return None;
            }
            // SAFETY: it is a node of ours.
            match wants(unsafe { &(*node).item }) {
                Some(found) => return Some((found, self.unlink(self.seen))),
                None => self.seen = node,
            }
        }
    }

    /// Takes out the node behind `before`, or the first. There is one.
    #[inline]
    fn unlink(&mut self, before: *mut Node<T>) -> Link<T> {
        // SAFETY: `before` is null or a node of ours, and a node of ours follows it.
        unsafe {
            let node = match before.is_null() {
                true => self.first,
                false => (*before).next,
            };
            match before.is_null() {
                true => self.first = (*node).next,
                false => (*before).next = (*node).next,
            }
            if self.last == node {
                self.last = before;
            }
            if self.seen == node {
                self.seen = before;
            }
            Link::from_raw(node)
        }
    }
}

impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        while let Some(link) = self.pop() {
            drop(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::rc::Rc;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Append(Vec<u8>),
        Pop,
        Find(u8),
        Rewind,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_u8..6).prop_map(Step::Push),
            1 => proptest::collection::vec(0_u8..6, 0..3).prop_map(Step::Append),
            1 => Just(Step::Pop),
            2 => (0_u8..6).prop_map(Step::Find),
            1 => Just(Step::Rewind),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// The model: a deque, and how many of its first items the search has passed.
        #[test]
        fn it_behaves_as_a_deque_with_a_search(steps in steps()) {
            let owned = Rc::new(());
            let mut chain = Chain::new();
            let mut model: VecDeque<u8> = VecDeque::new();
            let mut passed = 0;
            for step in steps {
                match step {
                    Step::Push(n) => {
                        chain.push(Link::new((n, owned.clone())));
                        model.push_back(n);
                    }
                    Step::Append(more) => {
                        let mut other = Chain::new();
                        for n in more {
                            other.push(Link::new((n, owned.clone())));
                            model.push_back(n);
                        }
                        chain.append(other);
                        prop_assert!(chain.all(|item| model.contains(&item.0)));
                    }
                    Step::Pop => {
                        prop_assert_eq!(chain.pop().map(|link| link.into_item().0), model.pop_front());
                        passed = usize::max(passed, 1) - 1;
                    }
                    Step::Find(n) => {
                        let found = chain.find(|item| (item.0 == n).then_some(()));
                        let at = (passed..model.len()).find(|at| model[*at] == n);
                        prop_assert_eq!(found.map(|(_, link)| link.into_item().0), at.map(|_| n));
                        passed = at.unwrap_or(model.len());
                        at.map(|at| model.remove(at));
                    }
                    Step::Rewind => {
                        chain.rewind();
                        passed = 0;
                    }
                }
                prop_assert_eq!(chain.is_empty(), model.is_empty());
                prop_assert_eq!(Rc::strong_count(&owned), model.len() + 1);
            }
            drop(chain);
            prop_assert_eq!(Rc::strong_count(&owned), 1);
        }
    }
}

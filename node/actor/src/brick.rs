//! Memory for what lies in mailboxes: blocks of a few sizes that each thread keeps in stock, so that a
//! message costs no call of the allocator. What a thread has too much of goes to a depot that all share, and
//! what the depot has too much of goes back to the allocator.
//!
//! Unsafe code, with two invariants: every block in stock was allocated with [`layout`] of its class and is
//! owned by whoever holds its pointer, and a value's class follows from its type alone, so that the block
//! that [`lay`] took is the block that [`lift`] gives back.
#![expect(unsafe_code, reason = "hands out raw blocks of memory; docs/adr/0007")]

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Mutex;

/// What blocks weigh. Heavier values are boxed.
const CLASSES: [usize; 3] = [64, 128, 256];
const ALIGN: usize = 16;
/// How many blocks move between a stock and the depot at once.
const BATCH: usize = 128;
/// How many batches of a class the depot keeps.
const BATCHES_MAX: usize = 512;

/// A block that nobody uses.
struct Block(NonNull<u8>);

// SAFETY: a block is bare memory that belongs to whoever holds it.
unsafe impl Send for Block {}

struct Stock([Vec<Block>; CLASSES.len()]);

impl Drop for Stock {
    fn drop(&mut self) {
        for (class, blocks) in self.0.iter_mut().enumerate() {
            blocks.drain(..).for_each(|block| release(block, class));
        }
    }
}

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock([const { Vec::new() }; CLASSES.len()])) };
}

static DEPOT: Mutex<[Vec<Vec<Block>>; CLASSES.len()]> =
    Mutex::new([const { Vec::new() }; CLASSES.len()]);

/// Which class a value of this type lies in; `None` when it is boxed.
const fn class_of<T>() -> Option<usize> {
    if align_of::<T>() > ALIGN {
        return None;
    }
    let mut class = 0;
    while class < CLASSES.len() {
        if size_of::<T>() <= CLASSES[class] {
            return Some(class);
        }
        class += 1;
    }
    None
}

/// Puts a value into a block. It lies there until it is lifted.
#[inline]
pub(crate) fn lay<T>(value: T) -> NonNull<T> {
    let Some(class) = (const { class_of::<T>() }) else {
        return NonNull::from(Box::leak(Box::new(value)));
    };
    let place = take(class).0.cast::<T>();
    // SAFETY: the block is ours alone, and by its class large enough and aligned for a `T`.
    unsafe { place.write(value) };
    place
}

/// Takes a value out of its block and frees the block.
///
/// # Safety
/// `place` came from [`lay`] with the same `T`, was not lifted before, and nobody else uses it.
#[inline]
pub(crate) unsafe fn lift<T>(place: NonNull<T>) -> T {
    let Some(class) = (const { class_of::<T>() }) else {
        // SAFETY: `lay` leaked this box, and it is taken back once.
        return *unsafe { Box::from_raw(place.as_ptr()) };
    };
    // SAFETY: the value is there, and after this read nobody looks at it again.
    let value = unsafe { place.read() };
    give(Block(place.cast()), class);
    value
}

#[inline]
fn take(class: usize) -> Block {
    let stocked = STOCK.try_with(|stock| {
        let blocks = &mut stock.borrow_mut().0[class];
        blocks.pop().or_else(|| restock(blocks, class))
    });
    // A thread that ends has no stock any more.
    stocked.ok().flatten().unwrap_or_else(|| allocate(class))
}

#[inline]
fn give(block: Block, class: usize) {
    let mut block = Some(block);
    let _ = STOCK.try_with(|stock| {
        let blocks = &mut stock.borrow_mut().0[class];
        blocks.extend(block.take());
        if blocks.len() >= 2 * BATCH {
            spill(blocks, class);
        }
    });
    if let Some(block) = block {
        release(block, class);
    }
}

#[cold]
fn restock(blocks: &mut Vec<Block>, class: usize) -> Option<Block> {
    match depot()[class].pop() {
        Some(batch) => *blocks = batch,
        None => {
            // Room for all that it will ever hold, so that no later push allocates.
            blocks.reserve_exact(2 * BATCH);
            blocks.extend((0..BATCH / 4).map(|_| allocate(class)));
        }
    }
    blocks.pop()
}

#[cold]
fn spill(blocks: &mut Vec<Block>, class: usize) {
    let mut batch = Vec::with_capacity(2 * BATCH);
    batch.extend(blocks.drain(BATCH..));
    let mut depot = depot();
    if depot[class].len() < BATCHES_MAX {
        depot[class].push(batch);
        return;
    }
    drop(depot);
    batch.into_iter().for_each(|block| release(block, class));
}

fn depot() -> std::sync::MutexGuard<'static, [Vec<Vec<Block>>; CLASSES.len()]> {
    DEPOT.lock().expect("nothing panics while it holds the depot")
}

fn layout(class: usize) -> Layout {
    Layout::from_size_align(CLASSES[class], ALIGN).expect("classes are small and aligned")
}

fn allocate(class: usize) -> Block {
    let layout = layout(class);
    // SAFETY: no class is of size zero.
    let block = unsafe { alloc::alloc(layout) };
    Block(NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout)))
}

fn release(Block(place): Block, class: usize) {
    // SAFETY: it was allocated with the same layout, and who holds it owns it.
    unsafe { alloc::dealloc(place.as_ptr(), layout(class)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Clone + PartialEq + std::fmt::Debug>(value: &T) {
        let places: Vec<_> = (0..1000).map(|_| lay(value.clone())).collect();
        for place in places {
            // SAFETY: each was laid above and is lifted once.
            assert_eq!(&unsafe { lift(place) }, value);
        }
    }

    #[test]
    fn values_of_every_size_come_back() {
        comes_back(&());
        comes_back(&7_u8);
        comes_back(&"a string that owns memory".to_owned());
        comes_back(&[1_u64; 8]);
        comes_back(&[2_u64; 9]);
        comes_back(&[3_u64; 32]);
        comes_back(&[4_u64; 33]);
    }

    #[test]
    fn a_value_may_be_lifted_on_another_thread() {
        for _ in 0..10 {
            let laid: Vec<usize> =
                (0..1000_u64).map(|n| lay(n).as_ptr().expose_provenance()).collect();
            let lifted = std::thread::scope(|scope| {
                let lift_all = || {
                    let place = |at: &usize| {
                        NonNull::new(std::ptr::with_exposed_provenance_mut::<u64>(*at)).unwrap()
                    };
                    // SAFETY: each was laid above and is lifted once.
                    laid.iter().map(|at| unsafe { lift(place(at)) }).sum::<u64>()
                };
                scope.spawn(lift_all).join().unwrap()
            });
            assert_eq!(lifted, 499_500);
        }
    }
}

//! How valid bytes become hostile ones: bit by bit, number by number, part by part.

use crate::{Dice, Target};

/// No input is longer than this.
const INPUT_BYTES_MAX: usize = 256 * 1024;

/// What is counted as the front of something.
const FRONT_BYTES: usize = 64;

/// Draws an input from a target's corpus and changes it a few times: its bytes, or its parts.
pub fn mutated<T: Target + ?Sized>(target: &T, dice: &mut Dice) -> Vec<u8> {
    let corpus = target.corpus();
    let mut input = dice.pick(corpus).clone();
    let steps = 1 + dice.below(4);
    if dice.once_in(2) {
        (0..steps).for_each(|_| change(&mut input, corpus, dice));
    } else {
        let mut parts = target.parts(&input);
        let others = target.parts(dice.pick::<Vec<u8>>(corpus));
        (0..steps).for_each(|_| rearrange(&mut parts, &others, dice));
        input = target.assemble(&parts);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// Changes some bytes.
pub(crate) fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    // Lengths, counts and versions stand in front.
    let reach = if dice.once_in(2) { input.len().min(FRONT_BYTES) } else { input.len() };
    let range = dice.range(reach);
    match dice.below(12) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(range.start) {
                *byte ^= 1 << dice.below(8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(range.start) {
                *byte = dice.number() as u8;
            }
        }
        3 => {
            if let Some(byte) = input.get_mut(range.start) {
                *byte = dice.odd_number() as u8;
            }
        }
        4 | 5 => overwrite_number(input, range.start, dice),
        6 => splice_varint(input, range.start, dice),
        7 => input.truncate(range.start),
        8 => drop(input.drain(range)),
        9 => {
            let doubled = input[range.clone()].to_vec();
            let times = if dice.once_in(8) { 64 } else { 1 };
            (0..times).for_each(|_| drop(input.splice(range.end..range.end, doubled.clone())));
        }
        10 => {
            // The head of this one and the tail of another.
            let other = another(corpus, dice);
            let from = dice.below(other.len() + 1);
            input.truncate(range.start);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let other = another(corpus, dice);
            let taken = dice.range(other.len());
            input.splice(range, other[taken].iter().copied());
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// One of the corpus, or nothing where there is none.
fn another<'a>(corpus: &'a [Vec<u8>], dice: &mut Dice) -> &'a [u8] {
    if corpus.is_empty() { &[] } else { dice.pick::<Vec<u8>>(corpus) }
}

/// Puts an odd number of one of the fixed widths over what is there.
fn overwrite_number(input: &mut [u8], at: usize, dice: &mut Dice) {
    let width = *dice.pick(&[2, 4, 8]);
    let mut number = dice.odd_number();
    if dice.once_in(4) {
        // What is really left, or about so much.
        number = (input.len() - at) as u64 + dice.number() % 9;
        number = number.wrapping_sub(4);
    }
    let bytes = number.to_le_bytes();
    for (place, byte) in input[at..].iter_mut().zip(&bytes[..width]) {
        *place = *byte;
    }
}

/// Puts an odd number in one of bincode's wide forms where one byte was.
fn splice_varint(input: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let (mark, width) = *dice.pick(&[(251, 2), (252, 4), (253, 8), (254, 16)]);
    let mut varint = vec![mark];
    varint.extend_from_slice(&u128::from(dice.odd_number()).to_le_bytes()[..width]);
    let end = (at + 1).min(input.len());
    input.splice(at..end, varint);
}

/// Changes some parts: drops, doubles, swaps, exchanges, or changes bytes of one.
pub(crate) fn rearrange(parts: &mut Vec<Vec<u8>>, others: &[Vec<u8>], dice: &mut Dice) {
    if parts.is_empty() {
        return parts.extend(others.iter().take(1).cloned());
    }
    let at = dice.below(parts.len());
    match dice.below(8) {
        0 => drop(parts.remove(at)),
        1 => {
            let to = dice.below(parts.len());
            parts.insert(to, parts[at].clone());
        }
        2 => {
            let to = dice.below(parts.len());
            parts.swap(at, to);
        }
        3 if !others.is_empty() => parts[at].clone_from(dice.pick(others)),
        _ => {
            let mut part = std::mem::take(&mut parts[at]);
            change(&mut part, parts, dice);
            parts[at] = part;
        }
    }
}

/// Cuts bytes that were put together by [`join`], as far as they go.
pub fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (part, after) = rest.split_at((u32::from_le_bytes(*len) as usize).min(rest.len()));
        parts.push(part.to_vec());
        bytes = after;
    }
    parts
}

/// Puts parts behind each other, each with its length before it.
pub fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

//! The seal of the journal's records, written a second time from its description: whoever forges a file knows
//! the format, so a checksum keeps nobody out.
//!
//! A record is opened to `kind u8 | batch u64 | body`, and closed again with a length, a check, a veil and a
//! checksum that fit.

const HEAD_BYTES: usize = 21;
const OPEN_HEAD_BYTES: usize = 9;
const ALIGN_BYTES: usize = 8;

#[derive(Clone, Copy)]
struct Seal {
    seed: u32,
    veil: [u8; 8],
}

/// Opens the records of a segment, as far as they are sound in length.
pub(super) fn open(journal: u64, segment: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
        let seal = Seal::of(journal, segment, records.len());
        let len = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let body_from = at + HEAD_BYTES;
        let Some(body) = len.checked_sub(1).and_then(|len| bytes.get(body_from..body_from + len))
        else {
            break;
        };
        let mut record = vec![head[20]];
        record.extend_from_slice(&head[8..16]);
        record.extend_from_slice(body);
        seal.veil(&mut record[OPEN_HEAD_BYTES..]);
        at += framed(body.len());
        records.push(record);
    }
    records
}

/// Closes records to a segment of `length` bytes. What does not fit is cut.
pub(super) fn close(journal: u64, segment: u64, records: &[Vec<u8>], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length);
    for (number, record) in records.iter().enumerate() {
        let Some((head, body)) = record.split_at_checked(OPEN_HEAD_BYTES) else {
            continue;
        };
        let seal = Seal::of(journal, segment, number);
        let start = out.len();
        let len = 1 + body.len() as u32;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len ^ seal.seed).to_le_bytes());
        out.extend_from_slice(&head[1..]);
        out.extend_from_slice(&[0; 4]);
        out.push(head[0]);
        out.extend_from_slice(body);
        seal.veil(&mut out[start + HEAD_BYTES..]);
        out.resize(start + framed(body.len()), 0xFF);
        let mut hasher = crc32fast::Hasher::new_with_initial(seal.seed);
        hasher.update(&len.to_le_bytes());
        hasher.update(&out[start + 8..start + 16]);
        hasher.update(&out[start + 20..]);
        let crc = hasher.finalize().to_le_bytes();
        out[start + 16..start + 20].copy_from_slice(&crc);
    }
    out.resize(length, 0);
    out
}

impl Seal {
    /// The first record of a segment is sealed so that anybody can read it.
    fn of(journal: u64, segment: u64, number: usize) -> Self {
        if number == 0 {
            return Self { seed: 0, veil: [0; 8] };
        }
        let mixed = mix(mix(journal) ^ segment);
        let veil = (mixed | 0x0101_0101_0101_0101).to_le_bytes();
        Self { seed: (mix(mixed) >> 32) as u32, veil }
    }

    fn veil(self, body: &mut [u8]) {
        body.iter_mut().zip(self.veil.iter().cycle()).for_each(|(byte, veil)| *byte ^= veil);
    }
}

fn framed(body_bytes: usize) -> usize {
    (HEAD_BYTES + body_bytes + ALIGN_BYTES) & !(ALIGN_BYTES - 1)
}

fn mix(number: u64) -> u64 {
    let a = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

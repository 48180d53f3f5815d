//! The shape of a type as serde shows it: names of structs, fields and variants, and what lies in them.
//!
//! A type is asked to read itself from a reader that has nothing: each time it says what it wants to read,
//! that is noted, and it is given the least there is. So the shape depends on the type's own words only,
//! neither on the compiler nor on paths. Of an enum all variants are noted, and the insides of the first. A
//! type that refuses what it is given (it is never zero, say) is noted as far as it read; that is the same
//! each time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::value::U32Deserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

/// How deep a shape is followed; what lies deeper has no part in it.
const DEPTH_MAX: usize = 12;
/// How many notes are taken.
const NOTES_MAX: usize = 4096;

/// A number for the shape of a type.
pub(crate) fn digest_of<T: for<'de> Deserialize<'de>>() -> u64 {
    let mut notes = Notes { hash: 0xcbf2_9ce4_8422_2325, taken: 0 };
    // Foreign code: should it panic on what it is given, it does so each time.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        T::deserialize(Asked { notes: &mut notes, depth: 0 }).is_ok()
    }));
    notes.hash
}

/// Folds numbers and words into one number (FNV-1a); the same on all nodes and releases.
pub(crate) struct Notes {
    pub(crate) hash: u64,
    taken: usize,
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, taken: 0 }
    }

    pub(crate) fn note(&mut self, bytes: &[u8]) {
        // The length stands before it, so that two notes are not one.
        let len = (bytes.len() as u64).to_le_bytes();
        for byte in len.iter().chain(bytes) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.taken += 1;
    }
}

#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shape is known")
    }
}

impl std::error::Error for Enough {}

impl Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Notes what is asked for, and gives the least there is.
struct Asked<'a> {
    notes: &'a mut Notes,
    depth: usize,
}

impl Asked<'_> {
    fn deeper(&mut self) -> Result<Asked<'_>, Enough> {
        match self.depth < DEPTH_MAX && self.notes.taken < NOTES_MAX {
            true => Ok(Asked { notes: self.notes, depth: self.depth + 1 }),
            false => Err(Enough),
        }
    }
}

macro_rules! least {
    ($($ask:ident $visit:ident $least:expr;)*) => {
        $(fn $ask<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
            self.notes.note(stringify!($ask).as_bytes());
            visitor.$visit($least)
        })*
    };
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Enough;

    least! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 0;
        deserialize_i16 visit_i16 0;
        deserialize_i32 visit_i32 0;
        deserialize_i64 visit_i64 0;
        deserialize_i128 visit_i128 0;
        deserialize_u8 visit_u8 0;
        deserialize_u16 visit_u16 0;
        deserialize_u32 visit_u32 0;
        deserialize_u64 visit_u64 0;
        deserialize_u128 visit_u128 0;
        deserialize_f32 visit_f32 0.0;
        deserialize_f64 visit_f64 0.0;
        deserialize_char visit_char 'a';
        deserialize_str visit_str "";
        deserialize_string visit_str "";
        deserialize_bytes visit_bytes b"";
        deserialize_byte_buf visit_bytes b"";
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        self.notes.note(b"any");
        Err(Enough)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.notes.note(b"ignored");
        visitor.visit_unit()
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        self.notes.note(b"identifier");
        Err(Enough)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Enough> {
        self.notes.note(b"option");
        visitor.visit_some(self.deeper()?)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.notes.note(b"unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(b"unit struct");
        self.notes.note(name.as_bytes());
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(b"newtype");
        self.notes.note(name.as_bytes());
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Enough> {
        self.notes.note(b"seq");
        visitor.visit_seq(Row { asked: self.deeper()?, left: 1 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        mut self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(b"tuple");
        self.notes.note(&(len as u64).to_le_bytes());
        visitor.visit_seq(Row { asked: self.deeper()?, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(name.as_bytes());
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Enough> {
        self.notes.note(b"map");
        visitor.visit_map(Row { asked: self.deeper()?, left: 1 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(b"struct");
        self.notes.note(name.as_bytes());
        fields.iter().for_each(|field| self.notes.note(field.as_bytes()));
        visitor.visit_seq(Row { asked: self.deeper()?, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.notes.note(b"enum");
        self.notes.note(name.as_bytes());
        variants.iter().for_each(|variant| self.notes.note(variant.as_bytes()));
        visitor.visit_enum(First(self.deeper()?))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// So many elements, one after the other.
struct Row<'a> {
    asked: Asked<'a>,
    left: usize,
}

impl Row<'_> {
    fn next(&mut self) -> Option<Result<Asked<'_>, Enough>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.asked.deeper())
    }
}

impl<'de> SeqAccess<'de> for Row<'_> {
    type Error = Enough;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Enough> {
        self.next().map(|asked| seed.deserialize(asked?)).transpose()
    }
}

impl<'de> MapAccess<'de> for Row<'_> {
    type Error = Enough;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Enough> {
        self.next().map(|asked| seed.deserialize(asked?)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Enough> {
        seed.deserialize(self.asked.deeper()?)
    }
}

/// The first variant.
struct First<'a>(Asked<'a>);

impl<'de> EnumAccess<'de> for First<'_> {
    type Error = Enough;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Enough> {
        let first: U32Deserializer<Enough> = 0_u32.into_deserializer();
        Ok((seed.deserialize(first)?, self))
    }
}

impl<'de> VariantAccess<'de> for First<'_> {
    type Error = Enough;

    fn unit_variant(self) -> Result<(), Enough> {
        self.0.notes.note(b"unit variant");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Enough> {
        self.0.notes.note(b"newtype variant");
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Enough> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    mod old {
        #[derive(serde::Deserialize)]
        pub(super) struct Photo {
            _width: u32,
            _tags: Vec<String>,
        }
    }

    mod same {
        #[derive(serde::Deserialize)]
        pub(super) struct Photo {
            _width: u32,
            _tags: Vec<String>,
        }
    }

    mod wider {
        #[derive(serde::Deserialize)]
        pub(super) struct Photo {
            _width: u64,
            _tags: Vec<String>,
        }
    }

    #[derive(serde::Deserialize)]
    enum Fruit {
        _Apple,
    }

    #[derive(serde::Deserialize, Debug)]
    #[expect(dead_code, reason = "only its shape counts")]
    enum Tree {
        Node(Vec<Tree>),
        Leaf,
    }

    #[test]
    fn what_looks_alike_has_one_digest_wherever_it_stands_and_what_does_not_has_another() {
        assert_eq!(digest_of::<old::Photo>(), digest_of::<same::Photo>());
        let all = [
            digest_of::<old::Photo>(),
            digest_of::<wider::Photo>(),
            digest_of::<Fruit>(),
            digest_of::<Tree>(),
            digest_of::<()>(),
            digest_of::<u64>(),
            digest_of::<(u64, u64)>(),
            digest_of::<[u64; 3]>(),
            digest_of::<Vec<u64>>(),
            digest_of::<Option<u64>>(),
            digest_of::<BTreeMap<u8, u64>>(),
            digest_of::<Result<u64, String>>(),
            digest_of::<String>(),
        ];
        assert_eq!(BTreeSet::from(all).len(), all.len());
    }

    #[test]
    fn a_digest_is_for_ever() {
        assert_eq!(digest_of::<old::Photo>(), digest_of::<old::Photo>());
        let mut notes = Notes::new();
        notes.note(b"deserialize_u64");
        assert_eq!(digest_of::<u64>(), notes.hash);
    }
}

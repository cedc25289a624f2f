//! serde's view of the tree.

use serde::{
    de::{
        DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    Content, KeyPath, Node, Segment,
    error::{Error, Kind},
};
use crate::config::{
    shape::SHAPE,
    tree::{Key, Scalar},
};

/// One node and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Decoder<'t> {
    node: &'t Node,
    path: KeyPath,
}

static NOTHING: [(Key, Node); 0] = [];

impl<'t> Decoder<'t> {
    pub fn new(root: &'t Node) -> Self {
        Decoder { node: root, path: KeyPath::default() }
    }

    fn mismatch(&self, expected: &str) -> Error {
        let (found, remedy) = match &self.node.content {
            Content::Mapping(_) => ("a mapping", ""),
            Content::Sequence(_) => ("a list", ""),
            Content::Scalar(Scalar::Text(_)) => ("text", ""),
            Content::Scalar(Scalar::Bool(_)) if expected == "text" => ("a boolean", "put it in quotes"),
            Content::Scalar(Scalar::Bool(_)) => ("a boolean", ""),
            Content::Scalar(Scalar::Null) | Content::Pruned => ("nothing", ""),
            Content::Scalar(_) if expected == "text" => ("a number", "put it in quotes"),
            Content::Scalar(_) => ("a number", ""),
        };
        Error::new(Kind::Type { found, expected: expected.into(), remedy }).at(&self.path)
    }

    fn entries(&self) -> Result<&'t [(Key, Node)], Error> {
        match &self.node.content {
            Content::Mapping(entries) => Ok(entries),
            // A key without a value, `limits:`, is a section with nothing in it.
            Content::Scalar(Scalar::Null) => Ok(&NOTHING),
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn number<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        let answer = match &self.node.content {
            Content::Scalar(Scalar::Unsigned(number)) => visitor.visit_u64(*number),
            Content::Scalar(Scalar::Signed(number)) => visitor.visit_i64(*number),
            Content::Scalar(Scalar::Text(text)) if self.node.untyped => match text.trim().parse() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => return Err(self.mismatch("a whole number")),
            },
            _ => return Err(self.mismatch("a whole number")),
        };
        answer.map_err(|error: Error| error.at(&path))
    }
}

impl<'t> Deserializer<'t> for Decoder<'t> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        let answer = match &self.node.content {
            Content::Scalar(Scalar::Null) => return Err(self.mismatch("a value")),
            Content::Scalar(Scalar::Bool(value)) => visitor.visit_bool(*value),
            Content::Scalar(Scalar::Signed(value)) => visitor.visit_i64(*value),
            Content::Scalar(Scalar::Unsigned(value)) => visitor.visit_u64(*value),
            Content::Scalar(Scalar::Float(value)) => visitor.visit_f64(*value),
            Content::Scalar(Scalar::Text(text)) => visitor.visit_str(text),
            _ => return Err(self.mismatch("one value")),
        };
        answer.map_err(|error: Error| error.at(&path))
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(Scalar::Bool(value)) => visitor.visit_bool(*value),
            Content::Scalar(Scalar::Text(text)) if self.node.untyped => match text.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(self.mismatch("true or false")),
            },
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_u32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.number(visitor)
    }

    fn deserialize_u64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.number(visitor)
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(Scalar::Text(text)) => visitor.visit_str(text).map_err(|error: Error| error.at(&self.path)),
            _ => Err(self.mismatch("text")),
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(Scalar::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != SHAPE {
            return visitor.visit_newtype_struct(self);
        }
        match &self.node.content {
            Content::Mapping(_) => self.deserialize_map(visitor),
            Content::Sequence(_) => self.deserialize_seq(visitor),
            Content::Scalar(Scalar::Null) => visitor.visit_unit(),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        let items: &[Node] = match &self.node.content {
            Content::Sequence(items) => items,
            Content::Scalar(Scalar::Null) => &[],
            _ => return Err(self.mismatch("a list")),
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), path: &self.path })
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = self.entries()?;
        let answer = visitor.visit_map(Entries { entries: entries.iter(), value: None, path: &self.path });
        answer.map_err(|error: Error| error.at(&self.path))
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let path = self.path.clone();
        match &self.node.content {
            Content::Scalar(Scalar::Text(text)) => {
                visitor.visit_enum(Variant { name: text, value: None, decoder: self })
            }
            Content::Mapping(entries) => match entries.as_slice() {
                [(key, value)] => {
                    let inside = path.at(Segment::Key(key.text.clone()));
                    let value = Decoder { node: value, path: inside };
                    visitor.visit_enum(Variant { name: &key.text, value: Some(value), decoder: self })
                }
                _ => {
                    let message = format!("exactly one of these keys belongs here: {}", variants.join(", "));
                    Err(Error::new(Kind::Message(message)))
                }
            },
            _ => Err(self.mismatch("text")),
        }
        .map_err(|error: Error| error.at(&path))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

struct Items<'t, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'t, Node>>,
    path: &'p KeyPath,
}

impl<'t> SeqAccess<'t> for Items<'t, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.find(|(_, node)| !matches!(node.content, Content::Pruned)) else {
            return Ok(None);
        };
        let path = self.path.at(index);
        seed.deserialize(Decoder { node, path: path.clone() }).map(Some).map_err(|error| error.at(&path))
    }
}

struct Entries<'t, 'p> {
    entries: std::slice::Iter<'t, (Key, Node)>,
    value: Option<(&'t Key, &'t Node)>,
    path: &'p KeyPath,
}

impl<'t> MapAccess<'t> for Entries<'t, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let next = self.entries.find(|(_, node)| !matches!(node.content, Content::Pruned));
        let Some((key, node)) = next else { return Ok(None) };
        self.value = Some((key, node));
        let name: StrDeserializer<'_, Error> = key.text.as_ref().into_deserializer();
        let path = self.path.at(Segment::Key(key.text.clone()));
        seed.deserialize(name).map(Some).map_err(|error| error.at(&path))
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, node) = self.value.take().expect("serde asks for a value only after its key");
        let path = self.path.at(Segment::Key(key.text.clone()));
        seed.deserialize(Decoder { node, path: path.clone() }).map_err(|error| error.at(&path))
    }
}

/// A value that is one of several: a word, or a mapping of one key.
struct Variant<'t> {
    name: &'t str,
    value: Option<Decoder<'t>>,
    decoder: Decoder<'t>,
}

impl<'t> EnumAccess<'t> for Variant<'t> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'t>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        match seed.deserialize(name) {
            Ok(value) => Ok((value, self)),
            Err(Error { kind: Kind::UnknownWord { word, known }, .. }) if self.value.is_some() => {
                let path = self.decoder.path.at(word.as_str());
                Err(Error::new(Kind::UnknownKey { key: word, known, variant: true }).at(&path))
            }
            Err(error) => Err(error),
        }
    }
}

impl<'t> VariantAccess<'t> for Variant<'t> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.decoder.mismatch("text")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'t>>(self, seed: T) -> Result<T::Value, Error> {
        match self.value {
            Some(value) => seed.deserialize(value),
            None => Err(needs_mapping(self.name)),
        }
    }

    fn tuple_variant<V: Visitor<'t>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(self.decoder.mismatch("a mapping"))
    }

    fn struct_variant<V: Visitor<'t>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Some(value) => value.deserialize_map(visitor),
            None => Err(needs_mapping(self.name)),
        }
    }
}

/// `name` is one of the known words here.
fn needs_mapping(name: &str) -> Error {
    Error::new(Kind::Message(format!("{name:?} is a key here, not a value; write {name}: {{}}")))
}

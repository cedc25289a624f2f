//! The body of a message as it looks: a mapping, a list or one value, of whatever depth.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A body with placeholders in its texts. Members keep the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Members(Vec<(String, Shape)>),
    List(Vec<Shape>),
    Text(String),
    /// A number, true, false or null, as it is written in the body.
    Constant(Value),
}

impl Default for Shape {
    fn default() -> Shape {
        Shape::Members(Vec::new())
    }
}

/// The name by which a [`Shape`] asks the decoder for whatever stands there: every other setting has one type.
pub(super) const SHAPE: &str = "$sidegate::Shape";

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SHAPE, ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Constant(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Constant(Value::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Constant(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Constant(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number that JSON can write"))?;
        Ok(Shape::Constant(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Shape::Members(members))
    }
}

impl JsonSchema for Shape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Shape".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

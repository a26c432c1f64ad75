//! The messages of `pgoutput`, protocol version 1: tables, rows and truncations.
//!
//! Pure. Where a transaction begins and ends is told beside them; what they mean is not known here.

/// A message about rows, or about the tables that later ones name by number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Table(u32, Layout),
    Row(u32, Happened<'a>),
    Truncate(Vec<u32>),
    /// A type's name, or where a replicated change came from first.
    Other,
}

/// What happened to a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happened<'a> {
    Inserted(Tuple<'a>),
    Updated(Option<Old<'a>>, Tuple<'a>),
    Deleted(Old<'a>),
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// A row before the change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Old<'a> {
    /// Every column.
    Whole(Tuple<'a>),
    /// Only the columns of the key, the others as if they were NULL.
    Key(Tuple<'a>),
}

/// Values in the order of the table's columns.
pub(super) type Tuple<'a> = Vec<Value<'a>>;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// A large one that the change left as it was.
    Unchanged,
    Text(&'a str),
}

/// A message that is not as the protocol says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a message of PostgreSQL's log can't be read at byte {0}")]
pub(in crate::event::capture) struct Malformed(usize);

impl<'a> Message<'a> {
    /// Reads a message.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        Ok(match reader.byte()? {
            b'R' => Message::Table(reader.number()?, reader.layout()?),
            b'I' => Message::Row(reader.number()?, Happened::Inserted(reader.marked(b'N')?)),
            b'U' => Message::Row(reader.number()?, Happened::Updated(reader.old()?, reader.marked(b'N')?)),
            b'D' => {
                let (table, at) = (reader.number()?, reader.at);
                Message::Row(table, Happened::Deleted(reader.old()?.ok_or(Malformed(at))?))
            }
            b'T' => {
                let count = reader.number()?;
                reader.byte()?;
                Message::Truncate((0..count).map(|_| reader.number()).collect::<Result<_, _>>()?)
            }
            _ => Message::Other,
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(Malformed(self.at))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let bytes = self.take(2)?;
        Ok(usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed(at))
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).ok_or(Malformed(self.at))?;
        let name = self.text(length)?.to_owned();
        self.byte()?;
        Ok(name)
    }

    fn layout(&mut self) -> Result<Layout, Malformed> {
        let (schema, name) = (self.name()?, self.name()?);
        self.byte()?;
        let count = self.count()?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            self.byte()?;
            columns.push(self.name()?);
            self.take(8)?;
        }
        Ok(Layout { schema, name, columns })
    }

    fn old(&mut self) -> Result<Option<Old<'a>>, Malformed> {
        match self.bytes.get(self.at) {
            Some(b'O') => self.marked(b'O').map(|row| Some(Old::Whole(row))),
            Some(b'K') => self.marked(b'K').map(|row| Some(Old::Key(row))),
            _ => Ok(None),
        }
    }

    fn marked(&mut self, mark: u8) -> Result<Tuple<'a>, Malformed> {
        let at = self.at;
        if self.byte()? != mark {
            return Err(Malformed(at));
        }
        let count = self.count()?;
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let at = self.at;
        Ok(match self.byte()? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = self.number()? as usize;
                Value::Text(self.text(length)?)
            }
            _ => return Err(Malformed(at)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: &[u8] = b"U\0\0\0\x07O\0\x02t\0\0\0\x011t\0\0\0\x02abN\0\x02t\0\0\0\x011u";

    #[test]
    fn rows_and_tables_are_read() {
        let table = b"R\0\0\0\x07public\0notes\0f\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0body\0\0\0\0\x19\xff\xff\xff\xff";
        let layout =
            Layout { schema: "public".to_owned(), name: "notes".to_owned(), columns: vec!["id".to_owned(), "body".to_owned()] };
        assert_eq!(Message::read(table), Ok(Message::Table(7, layout)));
        let old = Old::Whole(vec![Value::Text("1"), Value::Text("ab")]);
        let new = vec![Value::Text("1"), Value::Unchanged];
        assert_eq!(Message::read(UPDATE), Ok(Message::Row(7, Happened::Updated(Some(old), new))));
        assert_eq!(Message::read(b"I\0\0\0\x07N\0\x01n"), Ok(Message::Row(7, Happened::Inserted(vec![Value::Null]))));
        let deleted = Message::Row(7, Happened::Deleted(Old::Key(vec![Value::Text("1")])));
        assert_eq!(Message::read(b"D\0\0\0\x07K\0\x01t\0\0\0\x011"), Ok(deleted));
        assert_eq!(Message::read(b"T\0\0\0\x02\0\0\0\0\x07\0\0\0\x08"), Ok(Message::Truncate(vec![7, 8])));
        assert_eq!(Message::read(b"Ysomething"), Ok(Message::Other));
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        for length in 0..UPDATE.len() {
            assert!(Message::read(&UPDATE[..length]).is_err(), "{length}");
        }
        assert_eq!(Message::read(b"I\0\0\0\x07O\0\0"), Err(Malformed(5)));
        assert!(Message::read(b"T\xff\xff\xff\xff\0").is_err());
    }
}

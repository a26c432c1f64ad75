//! Floating-point numbers as the SQLite of this process writes them in JSON, which another version may have written in
//! other digits. SQLite is asked, since its digits follow no rule that could be written down elsewhere.

use rusqlite::Connection;

thread_local! {
    static MEMORY: Option<Connection> = Connection::open_in_memory().ok();
}

/// The text of a number.
#[must_use]
pub fn text(number: f64) -> String {
    let written = |connection: &Connection| {
        connection.prepare_cached("select json_quote(?)")?.query_row([number], |row| row.get::<_, String>(0))
    };
    // Only a lack of memory refuses this; any other text of the number is as good then.
    MEMORY.with(|memory| memory.as_ref().and_then(|connection| written(connection).ok())).unwrap_or_else(|| format!("{number:e}"))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn numbers_are_written_as_sqlite_does() {
        let cases = [(0.1 + 0.7, "0.79999999999999993"), (5000.1, "5000.1"), (1e21, "1.0e+21"), (-0.0, "0.0"), (3.0, "3.0")];
        for (number, expected) in cases {
            assert_eq!(text(number), expected);
        }
    }
}

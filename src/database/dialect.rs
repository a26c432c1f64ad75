//! The SQL that a source speaks.

/// The SQL that a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL 13 and later.
    Postgres,
    /// MySQL 8 or MariaDB 10.6 and later.
    Mysql(Flavour),
    /// SQLite, as linked into the process.
    Sqlite,
}

/// Which server of the MySQL family; they differ where one lacks the other's SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MariaDB.
    Mariadb,
    /// Oracle's MySQL.
    Mysql,
}

impl Dialect {
    /// The name that manifests and metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Postgres => "postgres",
            Dialect::Mysql(Flavour::Mariadb) => "mariadb",
            Dialect::Mysql(Flavour::Mysql) => "mysql",
            Dialect::Sqlite => "sqlite",
        }
    }
}

//! PostgreSQL's log: the publication, the slot, and tables whose old rows the log has.
//!
//! The publication comes first, since a slot that is older would not know it. A slot that was lost is left to the relay,
//! which must tell subscribers that they missed something.

use super::trigger::{literal, quoted};
use super::{Error, Removal, State, Survey, Table, Way, outbox};
use crate::catalog::{Entity, TableName};
use crate::database::{Database, Dialect, Statement};
use crate::event::capture::wal::slot::{PUBLICATION, Slot, Status};
use serde::Deserialize;
use std::collections::BTreeMap;

const DIALECT: Dialect = Dialect::Postgres;

/// Messages of the writer's name are read, which version 14 brought.
const OLDEST_VERSION: u32 = 140_000;

/// One line, since it is written as a comment of SQL as well.
const KEEPS_ALL: &str = "the server's max_slot_wal_keep_size is -1, which is no limit: while no replica reads the slot, its log \
    grows until the disk is full; set what the disk can spare, such as `alter system set max_slot_wal_keep_size = '10GB'`, \
    and run `select pg_reload_conf()`";

/// What the server says of itself.
#[derive(Debug, Deserialize)]
struct Facts {
    wal_level: String,
    version: u32,
    role: String,
    may_replicate: bool,
    /// Whether the server keeps its log for a slot however long it gets; older servers know no limit and do not say so.
    keeps_all: bool,
    /// Whether the publication tells everything it must, and of a partition under its parent's name; none if there is none.
    whole: Option<bool>,
    published: Vec<Named>,
    tables: Vec<TableFacts>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Named {
    schema: String,
    name: String,
}

/// A table, and what the log lacks of it.
#[derive(Debug, Deserialize)]
struct TableFacts {
    schema: String,
    name: String,
    /// The table, or those of its partitions, whose old rows are not in the log.
    partial: Vec<Named>,
    generated: Vec<String>,
}

/// Holds what tables need against what the database has.
pub(super) async fn survey(database: &Database, tables: &BTreeMap<TableName, &Entity>) -> Result<Survey, Error> {
    let facts = facts(database).await?;
    let slot = Slot::of(database).await?;
    let mut unfit = facts.unfit();
    if outbox::is_there(database).await? {
        unfit.push("triggers or an outbox of another mode are still there: run `resolvespec capture remove` first".to_owned());
    }
    if !unfit.is_empty() {
        return Err(Error::Unfit(unfit));
    }
    let status = slot.status().await?;
    let state = |table: &TableName| match (facts.is_published(table), facts.table(table)) {
        (_, Some(found)) if !found.generated.is_empty() => State::Unfit,
        (false, _) => State::Missing,
        (true, Some(found)) if found.partial.is_empty() && facts.whole == Some(true) && status.found => State::Installed,
        (true, _) => State::Outdated,
    };
    let unfit = tables.keys().filter_map(|table| facts.table(table).and_then(TableFacts::unfit)).collect();
    let surveyed = tables.keys().map(|table| Table { name: table.clone(), state: state(table) }).collect();
    // What is told of a table that has become unfit goes on: followers read again, and will not have missed anything when it is fit.
    let wanted: Vec<&TableName> =
        tables.keys().filter(|table| state(table) != State::Unfit || facts.is_published(table)).collect();
    let statements = facts.install(&wanted, slot.name(), &status);
    Ok(Survey { tables: surveyed, statements, way: Way::Script, unfit, warnings: facts.warnings(&wanted, &status) })
}

impl Facts {
    /// What keeps this mode from working at all.
    fn unfit(&self) -> Vec<String> {
        let mut unfit = Vec::new();
        if self.version < OLDEST_VERSION {
            unfit.push("the mode `wal` needs PostgreSQL 14 or later: use `trigger`".to_owned());
        }
        if self.wal_level != "logical" {
            let level = &self.wal_level;
            unfit.push(format!(
                "the server's wal_level is '{level}': run `alter system set wal_level = logical` and start it anew, or use `trigger`"
            ));
        }
        if !self.may_replicate {
            let role = quoted(&self.role, DIALECT);
            unfit.push(format!("the role {role} may not replicate: run `alter role {role} replication`, or use `trigger`"));
        }
        unfit
    }

    fn table(&self, table: &TableName) -> Option<&TableFacts> {
        self.tables.iter().find(|found| is(table, &found.schema, &found.name))
    }

    fn is_published(&self, table: &TableName) -> bool {
        self.published.iter().any(|found| is(table, &found.schema, &found.name))
    }

    fn install(&self, tables: &[&TableName], slot: &str, status: &Status) -> Vec<String> {
        let mut statements = Vec::new();
        for partial in tables.iter().filter_map(|table| self.table(table)).flat_map(|found| &found.partial) {
            statements.push(format!("alter table {} replica identity full", partial.quoted()));
        }
        let named = tables.iter().map(|table| {
            let mut name = String::new();
            table.quote_into(DIALECT, &mut name);
            name
        });
        let list = named.collect::<Vec<_>>().join(", ");
        let publication = quoted(PUBLICATION, DIALECT);
        let options = "(publish = 'insert, update, delete, truncate', publish_via_partition_root = true)";
        match self.whole {
            None if list.is_empty() => return Vec::new(),
            None => statements.push(format!("create publication {publication} for table {list} with {options}")),
            Some(whole) => {
                if !whole {
                    statements.push(format!("alter publication {publication} set {options}"));
                }
                let same = self.published.len() == tables.len() && tables.iter().all(|table| self.is_published(table));
                if !same && !list.is_empty() {
                    statements.push(format!("alter publication {publication} set table {list}"));
                }
            }
        }
        if statements.is_empty() {
            return statements;
        }
        // Writers wait behind this transaction for the tables' locks; it must not wait for long itself.
        statements.splice(0..0, ["begin".to_owned(), "set local lock_timeout = '5s'".to_owned()]);
        statements.push("commit".to_owned());
        if self.whole.is_none() {
            let slot = literal(slot, DIALECT);
            // A slot that is older than its publication can't be read, and what it holds can't be told.
            statements.push(if status.found {
                format!("select pg_drop_replication_slot({slot})")
            } else {
                format!("select pg_create_logical_replication_slot({slot}, 'pgoutput')")
            });
        }
        statements
    }

    fn warnings(&self, tables: &[&TableName], status: &Status) -> Vec<String> {
        let mut warnings = Vec::new();
        for found in tables.iter().filter_map(|table| self.table(table)).filter(|found| !found.partial.is_empty()) {
            let (schema, name) = (&found.schema, &found.name);
            warnings.push(format!(
                "{schema}.{name}: its REPLICA IDENTITY must be FULL, so that the log has whole old rows; the log grows by them"
            ));
        }
        if self.whole.is_some() && (!status.found || status.lost) {
            let state = if status.lost { "is lost" } else { "is not there" };
            warnings.push(format!("the slot {state}: a replica makes a new one, and every subscriber starts anew"));
        }
        if self.keeps_all {
            warnings.push(KEEPS_ALL.to_owned());
        }
        warnings
    }
}

impl TableFacts {
    fn unfit(&self) -> Option<String> {
        let (schema, name, columns) = (&self.schema, &self.name, self.generated.join(", "));
        (!self.generated.is_empty()).then(|| {
            format!("{schema}.{name}: the log does not have generated columns ({columns}), which a read has: use `trigger`")
        })
    }
}

impl Named {
    fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema, DIALECT), quoted(&self.name, DIALECT))
    }
}

fn is(table: &TableName, schema: &str, name: &str) -> bool {
    table.schema.as_str() == schema && table.name.as_str() == name
}

/// What is to be told of a slot that another mode has left behind, which makes the server keep its log for ever.
pub(super) async fn leftover(database: &Database) -> Result<Option<String>, Error> {
    let slot = Slot::of(database).await?;
    let there =
        format!("select to_json(slot_name::text) from pg_replication_slots where slot_name = {}", literal(slot.name(), DIALECT));
    let is_there = !database.fetch_texts(Statement::new(there)).await?.is_empty();
    let name = slot.name();
    Ok(is_there
        .then(|| format!("the slot {name} of the mode `wal` makes the server keep its log: run `resolvespec capture remove`")))
}

/// What takes publication and slot away.
pub(super) async fn add_removal(database: &Database, removal: &mut Removal) -> Result<(), Error> {
    let slot = Slot::of(database).await?;
    let names = [slot.name(), &slot.stray_name()].map(|name| literal(name, DIALECT)).join(", ");
    let found = format!("select to_json(slot_name::text) from pg_replication_slots where slot_name in ({names})");
    let has_slot = !database.fetch_texts(Statement::new(found)).await?.is_empty();
    let has_publication = facts(database).await?.whole.is_some();
    if has_slot {
        removal.untold += untold(database, &slot).await?;
        removal
            .statements
            .push(format!("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name in ({names})"));
    }
    if has_publication {
        removal.statements.push(format!("drop publication if exists {}", quoted(PUBLICATION, DIALECT)));
        removal.warnings.push("the tables' REPLICA IDENTITY stays as it is".to_owned());
    }
    Ok(())
}

/// Rows of the log that nobody has been told. A slot that is held is being told, and one that is lost can't tell any more.
async fn untold(database: &Database, slot: &Slot<'_>) -> Result<u64, Error> {
    let status = slot.status().await?;
    if !status.found || !status.published || status.active || status.lost {
        return Ok(0);
    }
    let text = UNTOLD.replace("{slot}", slot.name()).replace("{publication}", PUBLICATION);
    let rows = database.fetch_texts(Statement::new(text)).await?;
    Ok(serde_json::from_str(rows.first().map_or("null", String::as_str))?)
}

async fn facts(database: &Database) -> Result<Facts, Error> {
    let rows = database.fetch_texts(Statement::new(FACTS.replace("{publication}", PUBLICATION))).await?;
    Ok(serde_json::from_str(rows.first().map_or("null", String::as_str))?)
}

// Bytes that messages about rows begin with: I, U, D, T.
const UNTOLD: &str = "
select to_json(count(*)) from pg_logical_slot_peek_binary_changes('{slot}', null, 100000,
  'proto_version', '1', 'publication_names', '{publication}') where get_byte(data, 0) in (73, 85, 68, 84)";

// Rows of a partition are written under its parent, and whether they are whole is what the parent says. Amazon's service has a role where others have an attribute. Identity: d(efault), n(othing), i(ndex), f(ull).
const FACTS: &str = "
select json_build_object(
  'wal_level', current_setting('wal_level'),
  'version', current_setting('server_version_num')::int,
  'role', current_user,
  'may_replicate', (select r.rolreplication or r.rolsuper or exists (
      select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(r.oid, m.oid, 'member'))
    from pg_roles r where r.rolname = current_user),
  'keeps_all', coalesce(current_setting('max_slot_wal_keep_size', true) = '-1', false),
  'whole', (select p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and p.pubviaroot and not p.puballtables
    from pg_publication p where p.pubname = '{publication}'),
  'published', (select coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname)), '[]')
    from pg_publication p join pg_publication_rel r on r.prpubid = p.oid join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace where p.pubname = '{publication}'),
  'tables', (select coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname,
      'partial', (select coalesce(json_agg(json_build_object('schema', pn.nspname, 'name', pc.relname) order by pn.nspname, pc.relname), '[]')
        from (select c.oid union select t.relid from pg_partition_tree(c.oid) t where t.isleaf and c.relkind = 'p') part
        join pg_class pc on pc.oid = part.oid join pg_namespace pn on pn.oid = pc.relnamespace
        where pc.relkind in ('r', 'p') and pc.relreplident <> 'f'),
      'generated', (select coalesce(json_agg(a.attname order by a.attnum), '[]') from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated <> ''))), '[]')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'))";

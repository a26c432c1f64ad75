//! What an AccessPolicy says, held against its entity: whether it is one that can be enforced.
//!
//! What is wrong with it by itself can be told before, without an entity, by the same functions.
//! Nothing enforces it yet. An entity with a policy is closed by the compiler, be the policy good or bad; here it is only told
//! what is wrong with one. No IO.

use super::compile::near::advice;
use super::entity::Entity;
use super::lookup::Catalog;
use crate::manifest::declared::key;
use crate::manifest::problem::Cause;
use crate::manifest::{AccessPolicy, Declared, Manifests, Problem};
use cel::Program;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

/// What an expression may name besides what it binds itself.
const ROW: &str = "row";
const PRINCIPAL: &str = "principal";
/// What is known of the one who asks.
const FIELDS: [&str; 3] = ["subject", "roles", "claims"];
/// For an expression of as many characters as a manifest may have.
const STACK_BYTES: usize = 128 << 20;
/// Types are values in CEL, for `type(x) == string`.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What is wrong with the policies of manifests whose entities were compiled.
#[must_use]
pub fn problems(manifests: &Manifests, catalog: &Catalog) -> Vec<Problem> {
    // The catalog has its entities in the order of the manifests.
    let entities = || manifests.entities.iter().zip(catalog.entities());
    let of = |policy: &Declared<AccessPolicy>| {
        if let Some((_, entity)) = entities().find(|(declared, _)| declared.key() == entity_key(policy)) {
            return check(policy, entity);
        }
        let there = manifests.entities.iter().filter(|entity| entity.namespace() == policy.namespace());
        let named = &policy.resource.spec.entity;
        let reason = format!("there is no Entity '{named}' in the namespace '{}'", policy.namespace());
        vec![policy.problem("spec.entity", reason).advise(advice(named, there.map(Declared::name)))]
    };
    manifests.policies.iter().flat_map(of).collect()
}

/// The key of the entity that a policy is for.
#[must_use]
pub fn entity_key(policy: &Declared<AccessPolicy>) -> String {
    key(policy.namespace(), &policy.resource.spec.entity)
}

/// What is wrong with the policy of an entity.
#[must_use]
pub fn check(policy: &Declared<AccessPolicy>, entity: &Entity) -> Vec<Problem> {
    told(policy, Some(entity))
}

/// What is wrong with a policy whatever its entity is; which columns there are is not known then.
#[must_use]
pub fn alone(policy: &Declared<AccessPolicy>) -> Vec<Problem> {
    told(policy, None)
}

fn told(policy: &Declared<AccessPolicy>, entity: Option<&Entity>) -> Vec<Problem> {
    let spec = &policy.resource.spec;
    let mut problems = Vec::new();
    for (path, text) in [("spec.filter", &spec.filter), ("spec.check", &spec.check)] {
        let faults = text.iter().flat_map(|text| faults(text, entity));
        problems.extend(faults.map(|Fault { reason, advice }| Problem { advice, ..policy.problem(path, reason) }));
    }
    for (place, name) in spec.columns.iter().enumerate() {
        problems.extend(no_column(name, entity).map(|Fault { reason, advice }| Problem {
            advice,
            cause: Cause::Invalid,
            ..policy.problem(&format!("spec.columns[{place}]"), reason)
        }));
    }
    problems
}

struct Fault {
    reason: String,
    advice: Option<String>,
}

/// What is wrong with an expression. Parsing it and reading it goes as deep as its author wants, deeper than any stack of ours: it
/// gets one that is enough for the longest one, of which only what is used takes memory.
fn faults(text: &str, entity: Option<&Entity>) -> Vec<Fault> {
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || read(text, entity));
        let read = reading.ok().and_then(|reading| reading.join().ok());
        read.unwrap_or_else(|| vec![Fault { reason: "it could not be read".to_owned(), advice: None }])
    })
}

fn read(text: &str, entity: Option<&Entity>) -> Vec<Fault> {
    let program = match Program::compile(text) {
        Ok(program) => program,
        Err(errors) => {
            let place = |(line, column): (isize, isize)| format!("line {line}, column {column}");
            let one = |error: &cel::ParseError| Fault { reason: format!("{}: {}", place(error.pos), error.msg), advice: None };
            return errors.errors.iter().map(one).collect();
        }
    };
    let mut reader = Reader { entity, bound: Vec::new(), faults: Vec::new() };
    let root = program.expression();
    if !may_be_a_condition(&root.expr) {
        reader.fault("it is no condition: it can't come to true or false", None);
    }
    reader.read(root);
    reader.faults
}

/// Whether it can come to true or false, as far as that can be told without types.
fn may_be_a_condition(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => false,
        _ => true,
    }
}

/// Reads an expression for the names in it.
struct Reader<'e> {
    /// The entity, where it is known.
    entity: Option<&'e Entity>,
    /// What macros such as `exists` bind.
    bound: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, reason: impl Into<String>, advice: Option<String>) {
        self.faults.push(Fault { reason: reason.into(), advice });
    }

    fn read(&mut self, one: &IdedExpr) {
        match &one.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                self.field(&select.operand, &select.field);
                self.read(&select.operand);
            }
            Expr::Call(call) => {
                if let ("_[_]", [of, key]) = (call.func_name.as_str(), call.args.as_slice())
                    && let Expr::Literal(LiteralValue::String(name)) = &key.expr
                {
                    self.field(of, name.inner());
                }
                call.target.iter().map(|target| &**target).chain(&call.args).for_each(|one| self.read(one));
            }
            Expr::List(list) => list.elements.iter().for_each(|one| self.read(one)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(_) => self.fault("messages can't be made in a policy", None),
            Expr::Comprehension(all) => {
                self.read(&all.iter_range);
                self.read(&all.accu_init);
                let outside = self.bound.len();
                self.bound.extend([&all.iter_var, &all.accu_var].into_iter().chain(&all.iter_var2).cloned());
                for one in [&all.loop_cond, &all.loop_step, &all.result] {
                    self.read(one);
                }
                self.bound.truncate(outside);
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.read(&entry.key);
                self.read(&entry.value);
            }
            EntryExpr::StructField(field) => self.read(&field.value),
        }
    }

    /// A field of something, which is looked up if that is the row or the principal.
    fn field(&mut self, of: &IdedExpr, name: &str) {
        let fault = match &of.expr {
            Expr::Ident(of) if self.is_bound(of) => None,
            Expr::Ident(of) if of == ROW => no_column(name, self.entity),
            Expr::Ident(of) if of == PRINCIPAL && !FIELDS.contains(&name) => {
                Some(Fault { reason: format!("the {PRINCIPAL} has no '{name}'"), advice: Some(advice(name, FIELDS.into_iter())) })
            }
            _ => None,
        };
        self.faults.extend(fault);
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|one| one == name)
    }

    fn name(&mut self, name: &str) {
        let is_known = [ROW, PRINCIPAL].contains(&name) || TYPES.contains(&name) || self.is_bound(name);
        if !is_known {
            let advice = match self.entity.and_then(|entity| entity.column_named(name)) {
                Some(_) => format!("did you mean 'row.{name}'?"),
                None => format!("there are {ROW} and {PRINCIPAL}"),
            };
            self.fault(format!("nothing is called '{name}'"), Some(advice));
        }
    }
}

fn no_column(name: &str, entity: Option<&Entity>) -> Option<Fault> {
    let entity = entity.filter(|entity| entity.column_named(name).is_none())?;
    let reason = format!("there is no column '{name}' in {}", entity.full_name());
    Some(Fault { reason, advice: Some(advice(name, entity.columns().map(|(_, column)| column.name.as_str()))) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::test_shop;

    fn told(filter: &str) -> Vec<String> {
        let catalog = test_shop::catalog(&[test_shop::entity("customers", "")]);
        let entity = &catalog.entities()[0];
        said(faults(filter, Some(entity)))
    }

    fn said(faults: Vec<Fault>) -> Vec<String> {
        faults.into_iter().map(|Fault { reason, advice }| format!("{reason}; {}", advice.unwrap_or_default())).collect()
    }

    #[test]
    fn without_an_entity_only_columns_are_not_judged() {
        for good in ["row.nane == 'x'", "row['nane'] == principal.subject"] {
            assert_eq!(said(faults(good, None)), [""; 0], "{good}");
        }
        for bad in ["principal.id == row.name", "[row.name]", "row.name ==", "user.id == 1", "has(principal.role)"] {
            let found = said(faults(bad, None));
            assert!(!found.is_empty() && found == told(bad), "{bad}: {found:?}");
        }
    }

    #[test]
    fn conditions_over_the_row_and_the_principal_are_good() {
        for good in [
            "true",
            "row.name == principal.subject",
            "row['name'] == 'x' || 'admin' in principal.roles",
            "has(row.name) && principal.roles.exists(role, role == row.name)",
            "principal.roles.filter(name, name.startsWith('a')).size() > 0",
            "type(row.name) == string",
            "principal.claims.tenant == row.name || principal['claims']['id'] == row.name",
            "has(principal.subject) && principal.claims.list.exists(row, row.id == principal.subject)",
            "{'a': row.name}['a'] == 'x'",
        ] {
            assert_eq!(told(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_told_with_what_could_be() {
        for (bad, said) in [
            ("row.nane == 'x'", "there is no column 'nane' in main.customers; did you mean 'name'?"),
            ("row['nane'] == 'x'", "there is no column 'nane' in main.customers; did you mean 'name'?"),
            ("name == 'x'", "nothing is called 'name'; did you mean 'row.name'?"),
            ("principal.id == row.name", "the principal has no 'id'; there are claims, roles, subject"),
            ("principal['id'] == row.name", "the principal has no 'id'; there are claims, roles, subject"),
            ("has(principal.role)", "the principal has no 'role'; did you mean 'roles'?"),
            ("user.id == 1", "nothing is called 'user'; there are row and principal"),
            ("principal.roles.exists(role, role == rule)", "nothing is called 'rule'; there are row and principal"),
            ("[row.name]", "it is no condition: it can't come to true or false; "),
            ("1", "it is no condition: it can't come to true or false; "),
        ] {
            assert_eq!(told(bad), [said], "{bad}");
        }
        let faults = told("row.name ==");
        assert!(faults[0].starts_with("line 1, column "), "{faults:?}");
    }

    #[test]
    fn an_expression_of_any_depth_ends_in_an_answer() {
        for deep in [format!("{}true{}", "(".repeat(4000), ")".repeat(4000)), "[".repeat(8000)] {
            assert!(!told(&deep).is_empty());
        }
        for long in [
            vec!["row.name == 'x'"; 500].join(" || "),
            format!("{}true", "!".repeat(8001)),
            format!("row.name{}", ".a".repeat(8000)),
            format!("1{} > 0", "+1".repeat(8000)),
            format!("row.name{}", "[1]".repeat(5000)),
        ] {
            assert_eq!(told(&long), [""; 0], "what is long is read");
        }
    }
}

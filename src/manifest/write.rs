//! stub
use crate::catalog::facts::Facts;
/// stub
#[must_use]
pub fn manifests(_: &Facts, _: &str, _: Option<&str>) -> String {
    String::new()
}

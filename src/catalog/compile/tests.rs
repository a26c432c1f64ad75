//! Manifests held against facts.

//! Who asks: credentials become a [`Principal`], which is all that the engine knows of a caller.

mod principal;

pub use principal::Principal;

//! Makes Rust of the protocol's proto files, without `protoc`, and the description that reflection tells.

use prost::Message;
use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 1] = ["resolvespec/v1/resolvespec.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let described = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?
        .file_descriptor_set();
    let folder = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(folder.join("resolvespec.v1.bin"), described.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(described)?;
    Ok(())
}

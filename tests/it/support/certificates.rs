//! Certificates of a test's own.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer};
use std::path::PathBuf;

/// An authority, and two certificates of its own, in files.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn make(name: &str) -> Self {
        let folder = super::folder(&format!("certificates-{name}"));
        let certificates = Self { folder };
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = named("authority");
        certificates.write("ca.pem", &authority.self_signed(&key).expect("a certificate").pem());
        let issuer = Issuer::new(authority, key);
        for (name, host) in [("server", "127.0.0.1"), ("client", "replica")] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new([host.to_owned()]).expect("parameters");
            params.distinguished_name = named(name);
            certificates.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).expect("a certificate").pem());
            certificates.write(&format!("{name}.key"), &key.serialize_pem());
        }
        certificates
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// OpenSSL takes a certificate for one that has signed itself if its issuer has the same name.
fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

impl Drop for Certificates {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

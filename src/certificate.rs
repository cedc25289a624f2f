//! When certificates end. Whether they are good is for `rustls` to say.

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::model::UnixTime;

/// When the first of `chain` ends: from then on nobody has to accept it. `None` if it is empty or cannot be read.
pub fn expires(chain: &[CertificateDer<'_>]) -> Option<UnixTime> {
    let ends = chain.iter().map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok().map(UnixTime)
    });
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

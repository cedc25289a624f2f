//! The PROXY protocol, versions 1 and 2: who is really at the other end, as a trusted balancer tells it.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header accepted. Version 1 has at most 107 bytes; version 2 may carry a few extensions, which are skipped.
const MAX_HEADER: usize = 4096;

/// What follows `PROXY` in version 1; the parser takes any byte for it.
const V1_START: &[u8] = b"PROXY ";

/// Reads one header. Returns the client that it names (`None` for UNKNOWN, LOCAL and addresses that are no TCP) and
/// the bytes of what follows that were read with it.
///
/// # Errors
/// `InvalidData` if there is no header or none that can be understood, `UnexpectedEof` if it ends early.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(Option<SocketAddr>, Bytes)> {
    let mut buffer = BytesMut::with_capacity(256);
    loop {
        if (&mut *stream).take((MAX_HEADER - buffer.len()) as u64).read_buf(&mut buffer).await? == 0 {
            let kind =
                if buffer.len() == MAX_HEADER { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
            return Err(kind.into());
        }
        match parse(&buffer)? {
            Some((source, length)) => return Ok((source, buffer.split_off(length).freeze())),
            None => continue,
        }
    }
}

/// `None`: more is needed. Otherwise the client named, and the header's length.
fn parse(bytes: &[u8]) -> io::Result<Option<(Option<SocketAddr>, usize)>> {
    let start = bytes.len().min(V1_START.len());
    if bytes[0] == V1_START[0] && bytes[..start] != V1_START[..start] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match ProxyHeader::parse(bytes, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
        Ok((header, length)) => {
            let source = header.proxied_address().filter(|address| address.protocol == Protocol::Stream);
            Ok(Some((source.map(|address| address.source), length)))
        }
        Err(Error::BufferTooShort) => Ok(None),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    use super::*;

    fn client() -> SocketAddr {
        "[2001:db8::1]:51234".parse().unwrap()
    }

    fn header(version: u8) -> Vec<u8> {
        let header = ProxyHeader::with_address(ProxiedAddress::stream(client(), "[2001:db8::2]:443".parse().unwrap()));
        let mut bytes = Vec::new();
        if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) }.unwrap();
        bytes
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        for version in [1, 2] {
            let mut bytes = header(version);
            bytes.extend_from_slice(b"GET /");
            let (source, rest) = read(&mut &bytes[..]).await.unwrap();
            assert_eq!(source, Some(client()));
            assert_eq!(rest, "GET /");
        }
    }

    #[tokio::test]
    async fn unknown_and_local_name_nobody() {
        for bytes in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"] {
            assert_eq!(read(&mut &bytes[..]).await.unwrap(), (None, Bytes::new()));
        }
    }

    #[tokio::test]
    async fn a_datagram_names_nobody() {
        let mut bytes = header(2);
        bytes[13] = 0x22;
        assert_eq!(read(&mut &bytes[..]).await.unwrap().0, None);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(5000));
        let cases = [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
            "PROXX",
            &long,
        ];
        for bytes in cases {
            let error = read(&mut bytes.as_bytes()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:.40}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_a_header_only_asks_for_more(version in 1u8..=2, cut in 1usize..28) {
            prop_assert_eq!(parse(&header(version)[..cut]).unwrap(), None);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(start in 0usize..3, tail in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut bytes = [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"][start].to_vec();
            bytes.extend(tail);
            if let Ok(Some((_, length))) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}

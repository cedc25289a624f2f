//! HTTP/2 as bytes, for what no proper client would send or show.

/// An HTTP/2 frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

/// `GET http://x/` from the static table (RFC 7541 appendix A).
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'x'];

/// `GET http://x/hold`.
pub const GET_HOLD: &[u8] = &[0x82, 0x86, 0x44, 0x05, b'/', b'h', b'o', b'l', b'd', 0x41, 0x01, b'x'];

/// The frames in `bytes` as (kind, payload).
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let end = 9 + u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        if bytes.len() < end {
            break;
        }
        frames.push((bytes[3], bytes[9..end].to_vec()));
        bytes = &bytes[end..];
    }
    frames
}

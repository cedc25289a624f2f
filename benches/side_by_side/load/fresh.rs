//! A connection for each request: TCP, handshake, request, answer, and the end that the server makes.

use std::{io, rc::Rc, time::Instant};

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    answer::{self, BUFFER},
    shared::Shared,
};

pub async fn ask(shared: Rc<Shared>) -> io::Result<()> {
    let transport = shared.plan.transport.with_own_tickets();
    let mut buffer = vec![0; BUFFER];
    let mut first = true;
    while !shared.over() {
        let request = &shared.requests[shared.turn()];
        let asked = Instant::now();
        let (mut stream, handshake) = transport.connect(&shared.plan.address).await?;
        stream.write_all(request).await?;
        stream.flush().await?;
        let status = answer::status(&mut stream, &mut buffer).await?;
        // A server that forgets close_notify is not what is measured here.
        let _ = stream.read(&mut buffer).await;
        shared.answered(asked, status);
        if let Some(kind) = handshake {
            let resumed = kind == HandshakeKind::Resumed;
            shared.count(|counts| {
                counts.resumed += u64::from(resumed);
                counts.full += u64::from(!resumed);
                counts.unexpected += u64::from(!first && resumed != transport.resume);
            });
        }
        first = false;
    }
    Ok(())
}

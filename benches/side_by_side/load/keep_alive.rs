//! HTTP/1.1 over a connection that is kept.

use std::{io, rc::Rc, time::Instant};

use tokio::io::AsyncWriteExt;

use crate::{
    answer::{self, BUFFER},
    shared::Shared,
};

pub async fn ask(shared: Rc<Shared>) -> io::Result<()> {
    let (mut stream, _) = shared.plan.transport.connect(&shared.plan.address).await?;
    let mut buffer = vec![0; BUFFER];
    while !shared.over() {
        let _leave = shared.leave.acquire().await.map_err(io::Error::other)?;
        let request = &shared.requests[shared.turn()];
        let asked = Instant::now();
        stream.write_all(request).await?;
        stream.flush().await?;
        let status = answer::status(&mut stream, &mut buffer).await?;
        shared.answered(asked, status);
    }
    Ok(())
}

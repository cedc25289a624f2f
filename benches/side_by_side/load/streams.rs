//! HTTP/2 over a connection that is kept, with several requests under way.

use std::{io, rc::Rc, time::Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::client::SendRequest;
use http::{Request, Uri, header};

use crate::{
    plan::{HOST, Way},
    shared::Shared,
};

pub async fn ask(shared: Rc<Shared>) -> io::Result<()> {
    let Way::Streams(streams) = shared.plan.way else { return Ok(()) };
    let (stream, _) = shared.plan.transport.connect(&shared.plan.address).await?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::task::spawn_local(connection);
    let asked = try_join_all((0..streams).map(|_| keep_asking(&shared, sender.clone()))).await;
    connection.abort();
    asked.map(drop).map_err(io::Error::other)
}

async fn keep_asking(shared: &Shared, mut sender: SendRequest<Bytes>) -> Result<(), h2::Error> {
    let scheme = if shared.plan.transport.is_tls() { "https" } else { "http" };
    let uri: Uri = format!("{scheme}://{HOST}{}", shared.plan.path).parse().expect("the path is one");
    while !shared.over() {
        let mut request =
            Request::get(uri.clone()).header(header::USER_AGENT, "bench").header(header::ACCEPT, "application/json");
        if let Some(token) = shared.plan.tokens.get(shared.turn()) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(()).expect("tokens are made of base64");
        let asked = Instant::now();
        sender = sender.ready().await?;
        let (response, _) = sender.send_request(request, true)?;
        let response = response.await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(chunk) = body.data().await {
            body.flow_control().release_capacity(chunk?.len())?;
        }
        shared.answered(asked, status);
    }
    Ok(())
}

/// No answer waits for room.
const WINDOW: u32 = 8 << 20;

//! Connections that have asked once and then are silent.

use std::{
    io::{self, Read, stdin},
    rc::Rc,
    sync::Arc,
};

use tokio::{io::AsyncWriteExt, sync::Semaphore, task::JoinSet};

use crate::{
    answer::{self, BUFFER},
    plan::Plan,
    println_json,
    transport::Stream,
};

pub async fn run(plan: Plan) -> io::Result<serde_json::Value> {
    let requests = plan.requests();
    let plan = Rc::new((plan, requests));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for index in 0..plan.0.connections {
        let (plan, places) = (Rc::clone(&plan), Arc::clone(&places));
        opening.spawn_local(async move {
            let _place = places.acquire().await;
            open(&plan.0, &plan.1[index % plan.1.len()]).await
        });
    }
    let mut held = Vec::new();
    while let Some(opened) = opening.join_next().await {
        held.push(opened.map_err(io::Error::other)??);
    }
    println_json(&serde_json::json!({"held": held.len()}));
    // Nothing else goes on in this thread, and nothing shall.
    stdin().read_to_end(&mut Vec::new())?;
    Ok(serde_json::json!({"closed": held.len()}))
}

async fn open(plan: &Plan, request: &[u8]) -> io::Result<Box<dyn Stream>> {
    let (mut stream, _) = plan.transport.connect(&plan.address).await?;
    stream.write_all(request).await?;
    stream.flush().await?;
    let status = answer::status(&mut stream, &mut vec![0; BUFFER]).await?;
    if status != plan.expect {
        return Err(io::Error::other(format!("{status} instead of {}", plan.expect)));
    }
    Ok(stream)
}

/// So that the proxy needs few connections to its upstream.
const AT_ONCE: usize = 16;

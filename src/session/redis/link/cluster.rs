//! A Cluster: which of its servers has which keys, learnt from them.
//!
//! The client crate's own way to a Cluster is not used: while it learns, every command waits, and a single node that
//! accepts nothing makes it learn for as long as a connection may take; and it repeats what it had no answer to.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Value, aio::PubSubStream, cluster_routing::Slot, cmd};
use tokio::{
    sync::watch,
    time::{Instant as Deadline, sleep, timeout_at},
};

use super::{
    server::{Server, Whereabouts, pause},
    trouble::{Trouble, explain, shown},
    wire::{Greeting, Way},
};
use crate::config::RedisAddress;

pub(super) struct Cluster {
    way: Arc<Way>,
    seeds: Vec<RedisAddress>,
    /// To each server.
    connections: usize,
    map: RwLock<Map>,
    looking: Mutex<Looking>,
    /// Tells those who wait for a map that something has changed.
    changes: watch::Sender<()>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Map {
    slots: HashMap<Slot, Arc<Server>>,
    servers: Vec<(RedisAddress, Arc<Server>)>,
}

#[derive(Default)]
struct Looking {
    now: bool,
    /// Something has changed since the look that is under way began.
    again: bool,
    /// Why the last look came to nothing.
    failure: Option<String>,
}

impl Cluster {
    pub fn new(way: Arc<Way>, seeds: Vec<RedisAddress>, connections: usize) -> Arc<Cluster> {
        Arc::new(Cluster {
            way,
            seeds,
            connections,
            map: RwLock::default(),
            looking: Mutex::default(),
            changes: watch::Sender::new(()),
            turn: AtomicUsize::new(0),
        })
    }

    /// The server that has the keys of `slot`; any for `None`.
    pub async fn server(self: &Arc<Self>, slot: Option<Slot>, deadline: Deadline) -> Result<Arc<Server>, Trouble> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            {
                let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(server) = self.find(&map, slot) {
                    return Ok(server);
                }
                if !map.servers.is_empty() {
                    drop(map);
                    self.look();
                    return Err(Trouble::Refused("no server of the Cluster has the slot of the key".to_owned()));
                }
            }
            let failure = self.looking.lock().unwrap_or_else(PoisonError::into_inner).failure.clone();
            self.look();
            if let Some(failure) = failure {
                return Err(Trouble::Away(failure));
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(Trouble::Away("no node of the Cluster answered in time".to_owned()));
            }
        }
    }

    fn find(&self, map: &Map, slot: Option<Slot>) -> Option<Arc<Server>> {
        if let Some(slot) = slot {
            return map.slots.get(&slot).cloned();
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn =
            (0..map.servers.len()).map(|offset| &map.servers[first.wrapping_add(offset) % map.servers.len()].1);
        in_turn.clone().find(|server| !server.is_away()).or_else(|| in_turn.clone().next()).cloned()
    }

    /// Takes note of a move that a server told of.
    pub fn moved(self: &Arc<Self>, slot: u16, to: RedisAddress) {
        if let Some(slot) = Slot::new(slot) {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            let server = self.known(&mut map.servers, to);
            map.slots.insert(slot, server);
        }
        // One slot seldom moves alone.
        self.look();
    }

    pub fn at(&self, address: RedisAddress) -> Arc<Server> {
        self.known(&mut self.map.write().unwrap_or_else(PoisonError::into_inner).servers, address)
    }

    fn known(&self, servers: &mut Vec<(RedisAddress, Arc<Server>)>, address: RedisAddress) -> Arc<Server> {
        if let Some((_, server)) = servers.iter().find(|(known, _)| *known == address) {
            return server.clone();
        }
        let server = Server::new(self.way.clone(), Whereabouts::At(address.clone()), self.connections);
        servers.push((address, server.clone()));
        server
    }

    /// What is published in the Cluster: every node tells of it.
    pub async fn listen(&self, channels: &[String]) -> Result<PubSubStream, String> {
        let mut errors = Vec::new();
        for address in self.candidates() {
            match self.way.listen(&address, channels).await {
                Ok(stream) => return Ok(stream),
                Err(error) => errors.push(error),
            }
        }
        Err(errors.join("; "))
    }

    /// Has the map looked up again, by a task of its own.
    pub fn look(self: &Arc<Self>) {
        {
            let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
            if looking.now {
                looking.again = true;
                return;
            }
            looking.now = true;
        }
        let (cluster, way) = (Arc::downgrade(self), self.way.clone());
        self.way.background.spawn(async move {
            let mut rounds = 0;
            loop {
                let Some(candidates) = cluster.upgrade().map(|cluster| cluster.candidates()) else { return };
                let seen = see(&way, &candidates).await;
                let Some(known) = cluster.upgrade() else { return };
                let done = known.seen(seen);
                drop(known);
                if done {
                    return;
                }
                // Also after a success: who wants to know at once was told by the server that does not have the key.
                rounds += 1;
                sleep(pause(rounds)).await;
            }
        });
    }

    /// Whether that will do for now.
    fn seen(&self, seen: Result<Vec<Range>, String>) -> bool {
        let failure = match seen {
            Ok(ranges) => {
                self.learn(ranges);
                None
            }
            Err(failure) => Some(failure),
        };
        let failed = failure.is_some();
        // A server that is away will be replaced by another one sooner or later.
        let away = || self.map.read().unwrap_or_else(PoisonError::into_inner).servers.iter().any(|(_, s)| s.is_away());
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        match (&failure, &looking.failure) {
            (Some(error), None) => tracing::warn!(error, "no node of the session store's Cluster tells of the others"),
            (None, Some(_)) => tracing::info!("the nodes of the session store's Cluster are known again"),
            _ => {}
        }
        looking.failure = failure;
        let done = !failed && !looking.again && !away();
        (looking.again, looking.now) = (false, !done);
        drop(looking);
        self.changes.send_replace(());
        done
    }

    fn learn(&self, ranges: Vec<Range>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut slots = HashMap::with_capacity(usize::from(SLOTS));
        for range in &ranges {
            let server = self.known(&mut map.servers, range.master.clone());
            slots.extend((range.first..=range.last).filter_map(Slot::new).map(|slot| (slot, server.clone())));
        }
        map.slots = slots;
        let masters: HashSet<String> = ranges.iter().map(|range| shown(&range.master)).collect();
        map.servers.retain(|(address, _)| masters.contains(&shown(address)));
    }

    /// Whom to ask next, others each time.
    fn candidates(&self) -> Vec<RedisAddress> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<RedisAddress> = Vec::with_capacity(map.servers.len() + self.seeds.len());
        for address in map.servers.iter().map(|(address, _)| address).chain(&self.seeds) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        all.rotate_left(first);
        all.truncate(AT_ONCE);
        all
    }
}

/// Slots that follow one another, and who has them.
#[derive(Debug, PartialEq)]
struct Range {
    first: u16,
    last: u16,
    master: RedisAddress,
}

/// What the first of them says that says anything.
async fn see(way: &Way, nodes: &[RedisAddress]) -> Result<Vec<Range>, String> {
    let ask = |node| async move {
        let mut open = way.open(node, Greeting { master: false, about: false }).await?;
        let answer = way.in_time(open.ask(cmd("CLUSTER").arg("SLOTS"))).await;
        let answer = answer.and_then(|answer| answer.map_err(|error| explain(&error)));
        let ranges = answer.map(|map| read(&map, node)).map_err(|why| format!("{}: {why}", shown(node)))?;
        if ranges.is_empty() { Err(format!("{}: knows of no slots", shown(node))) } else { Ok(ranges) }
    };
    let mut asked: FuturesUnordered<_> = nodes.iter().map(ask).collect();
    let mut errors = Vec::new();
    while let Some(told) = asked.next().await {
        match told {
            Ok(ranges) => return Ok(ranges),
            Err(error) => errors.push(error),
        }
    }
    Err(errors.join("; "))
}

/// The answer to `CLUSTER SLOTS` of `node`: what makes no sense in it is left out. A node whose address is not known, or
/// which leaves it to the client to know, is where we asked.
fn read(answer: &Value, node: &RedisAddress) -> Vec<Range> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
            Value::BulkString(_) | Value::Nil => match node {
                RedisAddress::Tcp { host, .. } => host.clone(),
                RedisAddress::Unix(_) => return None,
            },
            _ => return None,
        };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        let master = RedisAddress::Tcp { host, port: u16::try_from(*port).ok()? };
        (first <= last && last < SLOTS).then_some(Range { first, last, master })
    };
    ranges.iter().filter_map(range).collect()
}

const SLOTS: u16 = 16384;
/// Nodes asked for the map at once.
const AT_ONCE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn a_map_is_read_and_what_makes_no_sense_is_left_out() {
        let answer = b"*6\r\n\
            *4\r\n:0\r\n:100\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$2\r\nid\r\n\
            *3\r\n:101\r\n:200\r\n*2\r\n$-1\r\n:7001\r\n\
            *3\r\n:201\r\n:16383\r\n*2\r\n$0\r\n\r\n:7002\r\n\
            *3\r\n:300\r\n:16384\r\n*2\r\n$1\r\na\r\n:7002\r\n\
            *3\r\n:5\r\n:4\r\n*2\r\n$1\r\na\r\n:7002\r\n\
            *2\r\n:5\r\n:6\r\n";
        let answer = redis::parse_redis_value(answer).unwrap();
        let range = |first, last, master| Range { first, last, master };
        let expected = vec![
            range(0, 100, at("127.0.0.1", 7000)),
            range(101, 200, at("here", 7001)),
            range(201, 16383, at("here", 7002)),
        ];
        assert_eq!(read(&answer, &at("here", 1)), expected);
        assert_eq!(read(&Value::Nil, &at("here", 1)), []);
    }
}

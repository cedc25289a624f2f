//! Everything that a store keeps, written into a file.
//!
//! It grows under the name `FILE.part` and gets its own when it is whole. What an interrupted export has left is gone on
//! with, unless somebody has served from the store since: then what was read of it may have changed.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    MoveError, Progress, Step,
    file::{Counts, FileError, Header, Kept, MasterKey, Place, Reader, Record, Writer},
    patiently, served,
};
use crate::{
    jose::rotation,
    session::{SessionId, SessionStore, ring::KeyRing},
};

/// What is to be exported, and where to.
pub struct Export<'a> {
    pub store: &'a dyn SessionStore,
    pub ring: &'a KeyRing,
    /// Names the store.
    pub from: String,
    pub to: &'a Path,
    /// Others may serve from the store: what they change after it was read is not in the file.
    pub while_serving: bool,
}

/// What has become of it.
#[derive(Debug)]
pub struct Exported {
    pub counts: Counts,
    /// Sessions that an interrupted export had written.
    pub resumed: u64,
    /// Something has begun to serve since that one, so it began anew.
    pub anew: bool,
    /// What could not be read, and why; those of an interrupted export among them.
    pub unreadable: Vec<(SessionId, String)>,
}

/// The file as it grows. Locked: two exports into one would be none.
struct Part {
    file: File,
    path: PathBuf,
}

/// # Errors
/// If something cannot be read or written: then the same export may be asked for again.
pub async fn export(asked: &Export<'_>, tell: &mut dyn FnMut(Progress)) -> Result<Exported, MoveError> {
    refuse_if_served(asked).await?;
    let part = Part::open(asked.to)?;
    let served_before = served(asked.store).await?;
    let mut exported = Exported { counts: Counts::default(), resumed: 0, anew: false, unreadable: Vec::new() };
    let place = resume(asked, &part, served_before, &mut exported, tell)?;
    let file = BufWriter::new(&part.file);
    let mut last = place.as_ref().and_then(|place| place.last);
    let mut writer = match place {
        Some(place) => Writer::go_on(file, place, asked.ring),
        None => Writer::begin(file, &header(asked, served_before)?, asked.ring)?,
    };
    // Tombstones are not counted there, so this is about how many.
    let of = asked.store.count().await.ok();
    loop {
        let records = patiently(|| asked.store.records(last, PAGE)).await?;
        let moved = records.moved.into_iter().map(|moved| (moved.session.id, Record::Session(Box::new(moved))));
        let unreadable = records.unreadable.iter().cloned().map(|(id, why)| (id, Record::Unreadable(id, why)));
        let mut page: Vec<(SessionId, Record)> = moved.chain(unreadable).collect();
        page.sort_by_key(|(id, _)| *id);
        page.into_iter().try_for_each(|(_, record)| writer.put(record))?;
        exported.unreadable.extend(records.unreadable);
        // Whatever ends this process, so much is not read again.
        writer.flush()?;
        tell(Progress { step: Step::Exporting, done: writer.counts().sessions, of });
        match records.last {
            Some(id) => last = Some(id),
            None => break,
        }
    }
    if let Some((_, content)) = asked.store.load(rotation::DOCUMENT).await? {
        writer.put(Record::Document(Kept { name: rotation::DOCUMENT.to_owned(), content: content.into() }))?;
    }
    exported.counts = writer.counts();
    writer.put(Record::End(exported.counts))?;
    writer.flush()?;
    if !asked.while_serving && served(asked.store).await? != served_before {
        return Err(MoveError::Refused(
            "a sidegate has begun to serve from the store meanwhile, so what was read may have changed: stop it and \
             export again, or say --while-serving"
                .to_owned(),
        ));
    }
    part.finish(asked.to)?;
    Ok(exported)
}

async fn refuse_if_served(asked: &Export<'_>) -> Result<(), MoveError> {
    if asked.while_serving {
        return Ok(());
    }
    match asked.store.listeners().await? {
        0 => Ok(()),
        processes => Err(MoveError::Refused(format!(
            "{processes} process(es) serve from {}, and what they change after it was read would be lost: stop them first; \
             --while-serving makes a copy all the same",
            asked.from
        ))),
    }
}

fn header(asked: &Export<'_>, served: u64) -> Result<Header, MoveError> {
    let file = SessionId::random().map_err(|_| MoveError::Refused("no randomness".to_owned()))?;
    let masters = MasterKey::all(asked.ring);
    Ok(Header { file, made: asked.store.now(), from: asked.from.clone(), served, masters })
}

/// How far an interrupted export has come, if it is to be gone on with. The file then ends behind its last whole record,
/// and otherwise is empty.
fn resume(
    asked: &Export<'_>,
    part: &Part,
    served: u64,
    exported: &mut Exported,
    tell: &mut dyn FnMut(Progress),
) -> Result<Option<Place>, MoveError> {
    let cut = |bytes: u64| {
        let mut file = &part.file;
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes))).map_err(|error| part.failed(error))
    };
    let length = part.file.metadata().map_err(|error| part.failed(error))?.len();
    let mut reader = match Reader::begin(BufReader::new(&part.file), asked.ring) {
        Ok(reader) => reader,
        // It did not even come to its first record.
        Err(FileError::Cut { .. } | FileError::Damaged { .. }) => {
            cut(0)?;
            return Ok(None);
        }
        Err(FileError::NotOurs) if length < SHORTEST => {
            cut(0)?;
            return Ok(None);
        }
        Err(error) => return Err(MoveError::Refused(part.refusal(&error.to_string()))),
    };
    let header = reader.header();
    if header.from != asked.from || header.masters != MasterKey::all(asked.ring) {
        let why = format!("it was begun from {} or with another ring of master keys", header.from);
        return Err(MoveError::Refused(part.refusal(&why)));
    }
    if header.served != served && !asked.while_serving {
        exported.anew = true;
        cut(0)?;
        return Ok(None);
    }
    let place = loop {
        let place = reader.place().clone();
        match reader.next() {
            Ok(Record::Session(_)) => {}
            Ok(Record::Unreadable(id, why)) => exported.unreadable.push((id, why)),
            // What follows the sessions is read anew.
            Ok(Record::Document(_) | Record::End(_)) => break place,
            Err(FileError::Cut { .. } | FileError::Damaged { .. }) => break place,
            Err(error) => return Err(error.into()),
        }
        if place.counts.sessions % PAGE as u64 == 0 {
            tell(Progress { step: Step::Resuming, done: place.counts.sessions, of: None });
        }
    };
    cut(place.bytes)?;
    exported.resumed = place.counts.sessions;
    Ok(Some(place))
}

impl Part {
    fn open(to: &Path) -> Result<Part, MoveError> {
        let mut path = to.to_owned().into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        let failed = |error| MoveError::Refused(format!("{}: {error}", path.display()));
        let taken = || MoveError::Refused(format!("{} is there already: name another file", to.display()));
        if to.exists() {
            return Err(taken());
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(MoveError::Refused(format!("{}: another export is at it", path.display())));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The other one may have come to its end before this one had the lock.
        if to.exists() { Err(taken()) } else { Ok(Part { file, path }) }
    }

    fn finish(&self, to: &Path) -> Result<(), MoveError> {
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let finish = || {
            (&self.file).flush()?;
            self.file.sync_all()?;
            fs::rename(&self.path, to)?;
            File::open(folder)?.sync_all()
        };
        finish().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> MoveError {
        MoveError::Refused(format!("{}: {error}", self.path.display()))
    }

    fn refusal(&self, why: &str) -> String {
        format!("{} cannot be gone on with: {why}. Remove it, or name another file", self.path.display())
    }
}

/// Sessions that are read at once.
const PAGE: usize = 500;
/// Bytes by which a file of ours is known: what is shorter was interrupted at its very beginning.
const SHORTEST: u64 = 19;

//! What is read is what was written, or nothing.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use herald_model::{Cidr, LanInterface, MacAddress, MemberState, Phase};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::time::Instant;

use super::directory::{Directory, DirectoryError};
use super::file::{self, BadFile, WriteError};
use super::*;

type State = Saved<BTreeMap<String, Vec<u64>>, Vec<u32>>;

const FILE: &str = "herald.state";

fn me() -> NodeName {
    NodeName::from("n1")
}

fn encoded(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = file::measure(&me(), state).expect("it can be encoded");
    file::write(&me(), state, &header, &mut bytes).expect("memory takes it");
    bytes
}

/// A whole file of another release, which has the same header.
fn of_version(version: u32) -> Vec<u8> {
    let mut bytes = encoded(&example());
    let (header, body) = bytes.split_at_mut(52);
    header[8..12].copy_from_slice(&version.to_be_bytes());
    let sum = Sha256::new()
        .chain_update(body)
        .chain_update(&header[8..20]);
    header[20..].copy_from_slice(&sum.finalize());
    bytes
}

fn decoded(bytes: &[u8]) -> Result<State, BadFile> {
    file::read(&me(), bytes)
}

fn example() -> State {
    let state = MemberState {
        phase: Phase::Ready,
        interfaces: vec![LanInterface {
            name: "eth0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            arp: true,
            ndp: false,
            prefixes: BTreeSet::from(["10.0.0.0/24".parse::<Cidr>().expect("valid")]),
            canary: Some(IpAddr::from([10, 0, 0, 7])),
        }],
        unheard: BTreeSet::from([NodeName::from("n3")]),
    };
    let member = Member {
        address: "[2001:db8::2]:7946".parse().expect("valid"),
        live: true,
        state: Some(state.into()),
    };
    State {
        world: BTreeMap::from([("web".to_owned(), vec![1, u64::MAX])]),
        members: BTreeMap::from([(NodeName::from("n2"), member)]),
        damping: vec![3],
        generation: 7,
        held: BTreeSet::from(["2001:db8::1".parse().expect("valid")]),
        left_cleanly: false,
        boot: None,
    }
}

fn numbered(generation: u64) -> State {
    State {
        generation,
        ..example()
    }
}

async fn opened(directory: &Path) -> Opened<State> {
    open(directory.to_owned(), me()).await
}

/// Writes a state as a speaker does that ends after it.
async fn keep(directory: &Path, state: State) {
    let opened = opened(directory).await;
    let writer = tokio::spawn(opened.writer.run());
    opened.journal.close(state).await;
    writer.await.expect("no panic").expect("no failure");
}

fn read(directory: &Path) -> Option<State> {
    fs::read(directory.join(FILE))
        .ok()
        .map(|bytes| decoded(&bytes).expect("whole"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(
        world in btree_map(".{0,8}", vec(any::<u64>(), 0..5), 0..20),
        damping in vec(any::<u32>(), 0..5),
        generation: u64,
        held in btree_set(any::<IpAddr>(), 0..20),
        left_cleanly: bool,
        boot: Option<String>,
    ) {
        let members = example().members;
        let state = State { world, members, damping, generation, held, left_cleanly, boot };
        prop_assert_eq!(decoded(&encoded(&state)).ok(), Some(state));
    }

    #[test]
    fn junk_is_no_state(bytes in vec(any::<u8>(), 0..300), whole_header: bool) {
        let mut file = if whole_header { encoded(&example())[..52].to_vec() } else { Vec::new() };
        file.extend(bytes);
        prop_assert!(decoded(&file).is_err());
    }
}

#[test]
fn a_file_with_any_bit_flipped_is_no_state() {
    let good = encoded(&example());
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[index] ^= 1 << bit;
            assert!(decoded(&bad).is_err(), "bit {bit} of byte {index}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_or_with_something_after_it_is_no_state() {
    let good = encoded(&example());
    for length in 0..good.len() {
        assert!(decoded(&good[..length]).is_err(), "cut to {length}");
    }
    let mut longer = good;
    longer.push(0);
    assert!(matches!(decoded(&longer), Err(BadFile::Damaged(_))));
}

#[test]
fn a_whole_file_of_another_content_is_no_state() {
    let other = (1_u8, "a");
    let mut bytes = Vec::new();
    let header = file::measure(&me(), &other).expect("it can be encoded");
    file::write(&me(), &other, &header, &mut bytes).expect("memory takes it");
    assert!(decoded(&bytes).is_err());
    assert!(file::read::<(u8, String)>(&me(), &bytes).is_ok());
    let less = file::read::<u8>(&me(), &bytes);
    assert!(matches!(less, Err(BadFile::Damaged(_))), "{less:?}");
}

#[test]
fn the_state_of_another_node_is_none_of_ours() {
    let bytes = encoded(&example());
    let read = file::read::<State>(&NodeName::from("n2"), &bytes);
    assert!(
        matches!(&read, Err(BadFile::OtherNode(node)) if *node == me()),
        "{read:?}"
    );
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat_n("0123456789abcdef", 8 << 20))
        }
    }
    let measured = file::measure(&me(), &Endless);
    assert!(
        matches!(measured, Err(WriteError::TooLarge)),
        "{measured:?}"
    );
}

#[test]
fn a_write_that_fails_anywhere_leaves_the_old_file_and_no_other() {
    /// A disk that is full after so many bytes.
    struct Full<'a>(&'a fs::File, usize);
    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.1);
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1 -= room;
            self.0.write(&bytes[..room])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let root = TempDir::new().expect("a directory");
    let directory = Directory::open(root.path()).expect("ours");
    let write = |state: &State, room: usize| {
        let header = file::measure(&me(), state)?;
        directory.replace(|file| file::write(&me(), state, &header, Full(file, room)))
    };
    write(&numbered(1), usize::MAX).expect("room");
    let whole = encoded(&numbered(2)).len();
    for room in 0..whole {
        let error = write(&numbered(2), room).expect_err("no room");
        assert!(
            matches!(&error, WriteError::Io(error) if error.kind() == io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert_eq!(read(root.path()), Some(numbered(1)));
        let files = fs::read_dir(root.path()).expect("readable").count();
        assert_eq!(files, 2, "the state and the lock");
    }
    write(&numbered(2), whole).expect("room");
    assert_eq!(read(root.path()), Some(numbered(2)));
}

#[tokio::test]
async fn a_speaker_goes_on_with_what_the_last_one_kept() {
    let root = TempDir::new().expect("a directory");
    let directory = root.path().join("a").join("b");
    assert_eq!(opened(&directory).await.saved, None);
    keep(&directory, example()).await;
    assert_eq!(opened(&directory).await.saved, Some(example()));
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(FILE)), 0o600);
}

#[tokio::test]
async fn what_a_speaker_left_half_written_is_in_nobodys_way() {
    let root = TempDir::new().expect("a directory");
    keep(root.path(), numbered(1)).await;
    let half = root.path().join("herald.state.new");
    fs::write(&half, &encoded(&numbered(2))[..40]).expect("writable");
    fs::set_permissions(&half, fs::Permissions::from_mode(0o666)).expect("ours");
    assert_eq!(opened(root.path()).await.saved, Some(numbered(1)));
    keep(root.path(), numbered(3)).await;
    assert_eq!(read(root.path()), Some(numbered(3)));
    assert_eq!(mode(&root.path().join(FILE)), 0o600);
    assert!(!half.exists());
}

#[tokio::test]
async fn a_file_of_another_version_and_a_damaged_one_are_kept_under_another_name() {
    let mut future = encoded(&example());
    future[11] = 9;
    let past = of_version(2);
    let mut damaged = encoded(&example());
    damaged[60] ^= 1;
    for (bytes, name) in [
        (future, "herald.state.version-9"),
        (past, "herald.state.version-2"),
        (damaged, "herald.state.damaged"),
    ] {
        let root = TempDir::new().expect("a directory");
        fs::write(root.path().join(FILE), &bytes).expect("writable");
        assert_eq!(opened(root.path()).await.saved, None);
        keep(root.path(), numbered(1)).await;
        let kept = fs::read(root.path().join(name)).expect("kept");
        assert_eq!(kept, bytes);
        assert_eq!(read(root.path()), Some(numbered(1)));
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_or_none_at_all_is_ignored() {
    let root = TempDir::new().expect("a directory");
    let file = fs::File::create(root.path().join(FILE)).expect("writable");
    file.set_len(1 << 40).expect("a hole takes no room");
    assert_eq!(opened(root.path()).await.saved, None);
    keep(root.path(), numbered(1)).await;
    assert_eq!(read(root.path()), Some(numbered(1)));

    let root = TempDir::new().expect("a directory");
    let pipe = root.path().join(FILE);
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert_eq!(opened(root.path()).await.saved, None);
}

#[tokio::test]
async fn two_speakers_do_not_write_to_one_directory() {
    let root = TempDir::new().expect("a directory");
    keep(root.path(), numbered(1)).await;
    let first = opened(root.path()).await;
    assert_eq!(first.saved, Some(numbered(1)));
    let error = Directory::open(root.path()).expect_err("in use");
    assert!(matches!(error, DirectoryError::InUse), "{error}");
    let second = opened(root.path()).await;
    assert_eq!(second.saved, None);
    let writer = tokio::spawn(second.writer.run());
    second.journal.close(numbered(2)).await;
    writer.await.expect("no panic").expect("no failure");
    assert_eq!(read(root.path()), Some(numbered(1)));
    // The next one has it again.
    drop(first);
    keep(root.path(), numbered(3)).await;
    assert_eq!(read(root.path()), Some(numbered(3)));
}

#[tokio::test(start_paused = true)]
async fn a_state_is_written_at_most_once_a_second_and_only_if_it_changed() {
    let root = TempDir::new().expect("a directory");
    let Opened {
        mut journal,
        writer,
        ..
    } = opened(root.path()).await;
    let writer = tokio::spawn(writer.run());
    let quiet = tokio::time::timeout(Duration::from_hours(1), journal.due()).await;
    assert!(quiet.is_err(), "nothing changed");
    let begin = Instant::now();
    journal.changed();
    journal.due().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    journal.put(numbered(1));
    journal.changed();
    journal.due().await;
    let second = begin.elapsed();
    assert!(
        (1000..1010).contains(&second.as_millis()),
        "after {second:?}"
    );
    assert_eq!(read(root.path()), Some(numbered(1)));
    journal.put(numbered(2));
    journal.changed_urgently();
    // Ready as soon as the last one is on the disk.
    journal.due().await;
    assert_eq!(begin.elapsed(), second);
    assert_eq!(read(root.path()), Some(numbered(2)));
    drop(journal);
    writer.await.expect("no panic").expect("no failure");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_asked_for_again_until_it_is() {
    let root = TempDir::new().expect("a directory");
    let directory = root.path().join("state");
    fs::write(&directory, "a file in the way").expect("writable");
    let Opened {
        saved,
        mut journal,
        writer,
    } = opened(&directory).await;
    assert_eq!(saved, None);
    let writer = tokio::spawn(writer.run());
    journal.changed_urgently();
    for _ in 0..8 {
        journal.due().await;
        journal.put(numbered(1));
    }
    journal.due().await;
    fs::remove_file(&directory).expect("ours");
    journal.put(numbered(2));
    let again = tokio::time::timeout(Duration::from_hours(1), journal.due()).await;
    assert!(again.is_err(), "it is written");
    assert_eq!(read(&directory), Some(numbered(2)));
    drop(journal);
    writer.await.expect("no panic").expect("no failure");
}

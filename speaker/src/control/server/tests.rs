use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::args::{BgpArgs, Question as Asked};
use super::super::client::ask;
use super::*;
use crate::bgp::{Advertised, testing};
use herald_bgp::wire::{Asn, Attributes, NextHop};
use herald_model::Cidr;

/// Three parts of the table are full, the last is short.
const PREFIXES: usize = 3 * 100 + 10;

fn routes(from: usize) -> Advertised {
    let attributes =
        Attributes::new(NextHop::V4([192, 0, 2, 1].into())).with_as_path([Asn(65_001)]);
    let attributes = Arc::new(attributes);
    let end = (from + 100).min(PREFIXES);
    let route = |n: usize| {
        let [a, b] = u16::try_from(n).expect("few").to_be_bytes();
        let prefix = Cidr::new([198, 18, a, b].into(), 32).expect("valid");
        (prefix, Arc::clone(&attributes))
    };
    Advertised {
        routes: (from..end).map(route).collect(),
        next: (end < PREFIXES).then_some(end),
    }
}

struct Speaker {
    directory: tempfile::TempDir,
    end: CancellationToken,
    /// How many questions the sessions' thread got.
    asked: Arc<AtomicUsize>,
    _statuses: (
        watch::Sender<Arc<Statuses>>,
        watch::Sender<Arc<BfdStatuses>>,
    ),
}

impl Speaker {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut up, counters) = testing::up("192.0.2.2:179");
        let mut counted = crate::bgp::PeerCounters::default();
        counted.told.ipv4 = PREFIXES;
        counters.set(counted);
        up.last_received = None;
        let (mut down, _) = testing::down("192.0.2.3:179");
        down.last_failure = Some((down.since, testing::refused()));
        let statuses = [("tor".to_owned(), up), ("far".to_owned(), down)].into();
        let (sender, statuses) = watch::channel(Arc::new(statuses));
        let (questions, mut asked_here) = mpsc::channel::<Question>(4);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(question) = asked_here.recv().await {
                count.fetch_add(1, Ordering::Relaxed);
                if question.peer == "tor" {
                    let _ = question.answer.send(routes(question.from));
                }
            }
        });
        let end = CancellationToken::new();
        let (paths_here, paths) = watch::channel(Arc::default());
        let source = Source {
            statuses,
            paths,
            questions,
        };
        let server = Server::new(directory.path().to_owned(), source);
        tokio::spawn(server.run(end.clone()));
        let speaker = Self {
            directory,
            end,
            asked,
            _statuses: (sender, paths_here),
        };
        while !speaker.socket().exists() {
            tokio::task::yield_now().await;
        }
        speaker
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    async fn ask(&self, question: Asked, json: bool) -> Result<String, String> {
        let args = BgpArgs {
            question,
            state_dir: self.directory.path().to_owned(),
            json,
        };
        let asking = tokio::task::spawn_blocking(move || {
            let mut out = Vec::new();
            ask(&args, &mut out).map_err(|error| error.to_string())?;
            String::from_utf8(out).map_err(|error| error.to_string())
        });
        asking.await.expect("does not panic")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_speaker_answers_in_tables_and_in_json() {
    let speaker = Speaker::start().await;
    let summary = speaker.ask(Asked::Summary, false).await.expect("an answer");
    let tor = summary.lines().find(|line| line.starts_with("tor"));
    assert!(
        tor.is_some_and(|line| line.contains("Established")),
        "{summary}"
    );
    assert!(summary.contains("Connection refused"), "{summary}");

    let neighbor = |name: &str| Asked::Neighbors {
        neighbor: Some(name.to_owned()),
    };
    let json = speaker.ask(neighbor("192.0.2.2"), true).await;
    let json: serde_json::Value = serde_json::from_str(&json.expect("an answer")).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    assert_eq!(json[0]["session"]["peerAs"], 65_002);
    let nobody = speaker.ask(neighbor("nobody"), false).await;
    assert!(nobody.is_err_and(|error| error.contains("nobody")));

    let routes = |name: Option<&str>| Asked::Routes {
        neighbor: name.map(str::to_owned),
    };
    let json = speaker.ask(routes(Some("tor")), true).await;
    let json: serde_json::Value = serde_json::from_str(&json.expect("an answer")).expect("JSON");
    let told = json[0]["routes"].as_array().expect("a list");
    assert_eq!(told.len(), PREFIXES);
    assert_eq!(told[1]["prefix"], "198.18.0.1/32", "in order");
    assert_eq!(told[1]["nextHop"], "192.0.2.1");
    let table = speaker.ask(routes(None), false).await.expect("an answer");
    assert!(table.contains("far"), "{table}");
    assert_eq!(table.matches("198.18.").count(), PREFIXES);
}

#[tokio::test]
async fn the_socket_is_for_the_own_user_and_goes_with_the_speaker() {
    let speaker = Speaker::start().await;
    let mode = std::fs::metadata(speaker.socket())
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let second = listen(&speaker.socket()).await;
    assert!(second.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
    speaker.end.cancel();
    while speaker.socket().exists() {
        tokio::task::yield_now().await;
    }
    // What a process left that was killed is no hindrance.
    drop(UnixListener::bind(speaker.socket()).expect("free"));
    assert!(listen(&speaker.socket()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_for_the_own_user_from_its_first_moment_on() {
    /// In so many rounds it is to be seen at the moments between; on a busy machine these are rare.
    const ROUNDS: usize = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(SOCKET);
    let new = path.with_extension("sock.new");
    let looks = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let (found, ends) = (Arc::clone(&looks), Arc::clone(&done));
    let modes = std::thread::spawn(move || {
        let mut modes = std::collections::BTreeSet::new();
        while !ends.load(Ordering::Relaxed) {
            if let Ok(file) = std::fs::metadata(&new) {
                modes.insert(file.permissions().mode() & 0o777);
                found.fetch_add(1, Ordering::Relaxed);
            }
        }
        modes
    });
    let end = Instant::now() + Duration::from_mins(1);
    let mut rounds = 0;
    while rounds < ROUNDS && Instant::now() < end {
        let before = looks.load(Ordering::Relaxed);
        drop(listen(&path).await.expect("it can be made"));
        std::fs::remove_file(&path).expect("it is there");
        rounds += usize::from(looks.load(Ordering::Relaxed) > before);
    }
    done.store(true, Ordering::Relaxed);
    let modes = modes.join().expect("no panic");
    assert_eq!(modes, [0o600].into(), "seen in {rounds} rounds");
}

#[tokio::test]
async fn one_who_asks_nonsense_or_too_much_is_told_so_and_no_more() {
    let speaker = Speaker::start().await;
    for request in ["\n", "{}\n", "{\"routes\":{}}\n", &"x".repeat(4096)] {
        let mut stream = UnixStream::connect(speaker.socket()).await.expect("open");
        // The speaker may have hung up before all of it is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        let first = answer.lines().next().unwrap_or("{\"error\":\"\"}");
        let part: Part = serde_json::from_str(first).expect("a part");
        assert!(matches!(part, Part::Error(_)), "{answer}");
    }
    assert_eq!(speaker.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_keep_others_waiting_for_a_moment_only() {
    let speaker = Speaker::start().await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS * 3 {
        silent.push(UnixStream::connect(speaker.socket()).await.expect("open"));
    }
    let before = tokio::time::Instant::now();
    let mut stream = UnixStream::connect(speaker.socket()).await.expect("open");
    stream
        .write_all(b"{\"neighbors\":{}}\n")
        .await
        .expect("taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with("\"end\"\n"), "{answer}");
    assert!(before.elapsed() <= ASKING * 4, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_read_gets_no_more_than_the_socket_holds() {
    let speaker = Speaker::start().await;
    let mut stream = UnixStream::connect(speaker.socket()).await.expect("open");
    let request = b"{\"routes\":{\"neighbor\":\"tor\"}}\n";
    stream.write_all(request).await.expect("taken");
    tokio::time::sleep(ANSWERING * 2).await;
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    let asked = speaker.asked.load(Ordering::Relaxed);
    assert!(asked <= 4, "{asked} parts for {} bytes", all.len());
}

#[tokio::test]
async fn one_that_never_answered_leaves_the_socket_of_another() {
    let speaker = Speaker::start().await;
    let (_statuses, statuses) = watch::channel(Arc::default());
    let (_paths, paths) = watch::channel(Arc::default());
    let (questions, _asked) = mpsc::channel(1);
    let source = Source {
        statuses,
        paths,
        questions,
    };
    let end = CancellationToken::new();
    let second = Server::new(speaker.directory.path().to_owned(), source);
    let second = tokio::spawn(second.run(end.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    end.cancel();
    second.await.expect("no panic").expect("it ends well");
    assert!(UnixStream::connect(speaker.socket()).await.is_ok());
}

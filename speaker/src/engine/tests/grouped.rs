//! The engine of a speaker that is in a group.

use herald_model::{GroupView, Member, MemberState, Phase, Standing};
use herald_ownership::Kind;

use super::*;

const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// The member `other`, ready, on the same LAN.
fn other(live: bool, phase: Phase) -> Member {
    let interface = LanInterface {
        mac: OTHER,
        ..lan("eth0")
    };
    Member {
        address: "198.51.100.2:7946".parse().expect("valid"),
        live,
        state: Some(Arc::new(MemberState {
            phase,
            interfaces: vec![interface],
            unheard: BTreeSet::new(),
        })),
    }
}

fn view(other: Member) -> GroupView {
    GroupView {
        members: [("other".into(), other)].into(),
        standing: Standing::Majority,
        ..GroupView::default()
    }
}

fn node(name: &str, address: &str) -> slim::Node {
    object(json!({
        "metadata": { "name": name },
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    }))
}

async fn grouped() -> Running {
    let directory = tempfile::tempdir().expect("a directory");
    start_in(directory, true).await
}

impl Running {
    fn show(&self, view: GroupView) {
        self.group.as_ref().expect("there is a group").show(view);
    }

    fn state(&self) -> MemberState {
        self.group.as_ref().expect("there is a group").state()
    }

    /// All of the API for a Service `a` (192.0.2.1), with two nodes.
    async fn send_all(&self) {
        self.send_the_rest().await;
        let nodes = vec![node("me", "198.51.100.1"), node("other", "198.51.100.2")];
        self.send(Input::Nodes(all(nodes))).await;
        let states = vec![state("me", "eth0"), state("other", "eth0")];
        self.send(Input::Speakers(all(states))).await;
        self.send(Input::Services(all(vec![service("a", "192.0.2.1")])))
            .await;
    }

    async fn has(&mut self, duty: Duty) {
        let address: IpAddr = "192.0.2.1".parse().expect("valid");
        let reached = self
            .desired
            .wait_for(|desired| desired.get(&address).is_some_and(|task| task.duty == duty));
        tokio::time::timeout(Duration::from_secs(5), reached)
            .await
            .unwrap_or_else(|_| panic!("not {duty:?}"))
            .expect("the engine runs");
    }

    async fn becomes(&self, phase: Phase) {
        let reached = async {
            while self.state().phase != phase {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), reached)
            .await
            .unwrap_or_else(|_| panic!("not {phase:?}"));
    }

    /// The engine has the address and nobody else wants it.
    async fn holds(&mut self) {
        self.send_all().await;
        self.show(view(other(true, Phase::Draining)));
        self.becomes(Phase::Ready).await;
        self.announces(&["192.0.2.1"]).await;
    }

    fn announced_by_other(&self) {
        let sighting = Sighting {
            address: "192.0.2.1".parse().expect("valid"),
            mac: OTHER,
            kind: Kind::Announced,
        };
        self.sightings.try_send(sighting).expect("there is room");
    }
}

#[tokio::test]
async fn nothing_is_decided_before_another_is_heard_or_has_had_its_time() {
    let running = grouped().await;
    running.send_all().await;
    running.idle().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(running.readiness.pending(), ["the stores"]);
    running.show(view(other(true, Phase::Ready)));
    let begun = async {
        while !running.readiness.pending().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(500), begun)
        .await
        .expect("it begins as soon as another is heard");
    let roster = running.group.as_ref().expect("there is a group").roster();
    assert_eq!(roster, ["me".into(), "other".into()].into());
    running.end().await;
}

#[tokio::test]
async fn one_that_knows_nothing_is_not_ready_and_after_a_while_the_last_to_be_given_anything() {
    let mut running = grouped().await;
    running.interfaces.send_replace(Some(vec![lan("eth0")]));
    running.show(view(other(true, Phase::Ready)));
    // Longer than a speaker settles that was not killed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(running.state().phase, Phase::Settling);
    running.becomes(Phase::Draining).await;
    running.send_all().await;
    running.becomes(Phase::Ready).await;
    running.show(view(other(true, Phase::Draining)));
    running.announces(&["192.0.2.1"]).await;
    running.end().await;
}

#[tokio::test]
async fn an_address_is_probed_for_before_it_is_taken_and_nothing_is_held_while_fenced() {
    let mut running = grouped().await;
    running.holds().await;
    let mut probes = 0;
    while let Ok(command) = running.commands.try_recv() {
        probes += u32::from(matches!(command, Command::Probe(_)));
    }
    assert!(probes >= 3, "{probes} probes");
    let fenced = GroupView {
        fenced: true,
        ..view(other(true, Phase::Draining))
    };
    running.show(fenced);
    running.announces(&[]).await;
    running.becomes(Phase::Settling).await;
    running.show(view(other(true, Phase::Draining)));
    running.announces(&["192.0.2.1"]).await;
    running.becomes(Phase::Ready).await;
    running.end().await;
}

#[tokio::test]
async fn a_fence_that_nobody_saw_counts_as_one_that_was_seen() {
    let mut running = grouped().await;
    running.holds().await;
    let group = running.group.as_ref().expect("there is a group");
    // Declared down and back within one look: another has taken the address.
    group.show_generation(9);
    group.show(view(other(true, Phase::Ready)));
    running.announces(&[]).await;
    running.becomes(Phase::Settling).await;
    let group = running.group.as_ref().expect("there is a group");
    assert_eq!(group.settled(), 9, "it may answer again");
    running.end().await;
}

#[tokio::test]
async fn a_planned_end_goes_on_to_answer_until_another_announces() {
    let mut running = grouped().await;
    running.holds().await;
    running.show(view(other(true, Phase::Ready)));
    running.supervisor.draining().cancel();
    running.has(Duty::Answer).await;
    assert_eq!(running.state().phase, Phase::Draining);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!running.task.is_finished());
    running.announced_by_other();
    let group = running.group.take().expect("there is a group");
    tokio::time::timeout(Duration::from_secs(5), group.left())
        .await
        .expect("it leaves");
    running.token.cancel();
    running.task.await.expect("no panic").expect("asked to end");
    let kept = crate::state::open::<Kept>(running.directory.path().to_owned(), "me".into()).await;
    let saved = kept.saved.expect("it was written");
    assert!(saved.left_cleanly && saved.held.is_empty());
    assert_eq!(saved.world.services.len(), 1);
}

#[tokio::test]
async fn one_that_has_nobody_to_hand_over_to_ends_at_once() {
    let mut running = grouped().await;
    running.holds().await;
    running.show(view(other(false, Phase::Ready)));
    running.supervisor.draining().cancel();
    let group = running.group.take().expect("there is a group");
    tokio::time::timeout(Duration::from_secs(1), group.left())
        .await
        .expect("nothing is waited for");
    running.token.cancel();
    running.task.await.expect("no panic").expect("asked to end");
}

/// The directory of a speaker that held the address and was killed.
async fn killed() -> tempfile::TempDir {
    let mut first = grouped().await;
    first.holds().await;
    let file = first.directory.path().to_owned();
    let written = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let text = std::fs::read(file.join("herald.state")).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains("shop") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), written)
        .await
        .expect("written");
    first.task.abort();
    first.state_writer.abort();
    let _ = first.state_writer.await;
    first.directory
}

#[tokio::test]
async fn a_list_that_came_before_the_disk_was_taken_up_has_the_last_word() {
    let mut second = start_in(killed().await, true).await;
    second.interfaces.send_replace(Some(vec![lan("eth0")]));
    second.show(view(other(false, Phase::Ready)));
    // Service `a` is gone; the lists of other kinds never come.
    second
        .send(Input::Services(all(vec![service("b", "192.0.2.2")])))
        .await;
    second
        .send(Input::Slices(all(vec![slice("b", true)])))
        .await;
    second.announces(&["192.0.2.2"]).await;
    second.end().await;
}

#[tokio::test]
async fn without_the_api_what_the_disk_has_is_gone_on_with() {
    let mut second = start_in(killed().await, true).await;
    second.interfaces.send_replace(Some(vec![lan("eth0")]));
    second.show(view(other(false, Phase::Ready)));
    second.announces(&["192.0.2.1"]).await;
    assert!(second.readiness.pending().is_empty());
    // When the API is back it has the last word.
    second.send_the_rest().await;
    let nodes = vec![node("me", "198.51.100.1"), node("other", "198.51.100.2")];
    second.send(Input::Nodes(all(nodes))).await;
    second.idle().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    second.announces(&["192.0.2.1"]).await;
    second.send(Input::Services(all(Vec::new()))).await;
    second.announces(&[]).await;
    second.end().await;
}

#[tokio::test]
async fn a_foreign_station_is_reported_and_left_alone() {
    let mut running = grouped().await;
    running.send_all().await;
    running.show(view(other(true, Phase::Draining)));
    running.has(Duty::Watch).await;
    let address: IpAddr = "192.0.2.1".parse().expect("valid");
    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
    let sighting = Sighting {
        address,
        mac,
        kind: Kind::Answered,
    };
    running.sightings.send(sighting).await.expect("runs");
    let conflicts = running.conflicts.wait_for(|c| c.contains_key(&address));
    let conflicts = tokio::time::timeout(Duration::from_secs(5), conflicts);
    let conflicts = conflicts.await.expect("told").expect("runs").clone();
    assert_eq!(conflicts, [(address, mac)].into());
    running.announces(&[]).await;
    running.end().await;
}

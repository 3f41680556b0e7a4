use super::*;

const POOL: &str = "IPAddressPool";

fn body(kind: &str, operation: &str, object: Option<&Value>, old: Option<&Value>) -> Vec<u8> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "operation": operation, "name": "p", "namespace": "ns",
            "kind": { "group": "metallb.io", "version": "v1beta1", "kind": kind },
            "object": object, "oldObject": old,
        },
    });
    review.to_string().into_bytes()
}

fn pool(address: &str) -> Value {
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": POOL,
            "metadata": { "name": "p", "namespace": "ns" }, "spec": { "addresses": [address] } })
}

fn question(body: &[u8]) -> Result<Question, ReviewError> {
    admission(body)?.question()
}

fn changed(body: &[u8]) -> Change {
    match question(body) {
        Ok(Question::Change(change)) => *change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_is_read_for_every_operation() {
    let (new, old) = (pool("192.0.2.0/24"), pool("198.51.100.0/24"));
    let addresses = |object: &Object| match object {
        Object::Pool(pool) => pool.spec.addresses.clone(),
        other => panic!("{other:?}"),
    };
    let create = changed(&body(POOL, "CREATE", Some(&new), None));
    assert!(matches!(&create, Change::Create(it) if addresses(it) == ["192.0.2.0/24"]));
    let update = changed(&body(POOL, "UPDATE", Some(&new), Some(&old)));
    assert!(matches!(&update, Change::Update { old, new }
        if addresses(old) == ["198.51.100.0/24"] && addresses(new) == ["192.0.2.0/24"]));
    let delete = changed(&body(POOL, "DELETE", None, Some(&old)));
    assert!(matches!(&delete, Change::Delete(it) if addresses(it) == ["198.51.100.0/24"]));
    let connect = question(&body(POOL, "CONNECT", Some(&new), None));
    assert_eq!(connect, Ok(Question::Nothing));
}

#[test]
fn what_was_stored_malformed_can_be_corrected_and_deleted() {
    let bad = json!({ "metadata": { "name": "p" }, "spec": { "addresses": "all" } });
    let corrected = changed(&body(
        POOL,
        "UPDATE",
        Some(&pool("192.0.2.0/24")),
        Some(&bad),
    ));
    assert!(matches!(corrected, Change::Create(_)));
    let deleted = question(&body(POOL, "DELETE", None, Some(&bad)));
    assert_eq!(deleted, Ok(Question::Nothing));
    for operation in ["CREATE", "UPDATE"] {
        let old = pool("192.0.2.0/24");
        let made = question(&body(POOL, operation, Some(&bad), Some(&old)));
        assert!(
            matches!(made, Ok(Question::Unreadable(text)) if text.contains("fields of its kind"))
        );
    }
}

#[test]
fn a_peer_of_the_old_version_is_read_as_one_of_the_new() {
    let peer = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer",
        "metadata": { "name": "r" }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" } });
    match changed(&body("BGPPeer", "CREATE", Some(&peer), None)) {
        Change::Create(Object::BgpPeer(peer)) => assert_eq!(peer.spec.peer_port, 179),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_question_is_an_error() {
    let text = |result: Result<Question, ReviewError>| result.expect_err("no question").to_string();
    for bad in [&b""[..], b"{", b"[]", b"null", b"7", b"\xff"] {
        assert!(
            text(question(bad)).contains("cannot read the review"),
            "{bad:?}"
        );
    }
    assert!(text(question(b"{}")).contains("send AdmissionReview of admission.k8s.io/v1"));
    let old = br#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#;
    assert!(text(question(old)).contains("v1beta1"));
    let answer =
        br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {}}"#;
    assert_eq!(question(answer), Err(ReviewError::NoRequest));
    let pod = body("Pod", "CREATE", Some(&json!({})), None);
    assert!(text(question(&pod)).contains("no rules for \"Pod\""));
    let nothing = question(&body(POOL, "CREATE", None, None));
    assert!(matches!(nothing, Ok(Question::Unreadable(text)) if text.contains("no object")));
}

#[test]
fn an_answer_says_why_not_and_what_to_know() {
    let allowed = answer("u1", &Verdict::default());
    assert_eq!(
        allowed,
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": { "uid": "u1", "allowed": true } })
    );
    let refused = Verdict {
        errors: vec!["one".to_owned(), "two".to_owned()],
        warnings: (0..MOST_WARNINGS + 3)
            .map(|number| format!("w{number}"))
            .collect(),
    };
    let refused = &answer("u2", &refused)["response"];
    assert_eq!(refused["allowed"], false);
    assert_eq!(refused["status"]["message"], "one; two");
    let warnings = refused["warnings"].as_array().expect("a list");
    assert_eq!(warnings.len(), MOST_WARNINGS + 1);
    assert_eq!(warnings.last(), Some(&json!("and 3 warnings more")));
}

#[test]
fn a_text_without_end_is_cut() {
    let long = Verdict {
        errors: vec!["\u{e4}".repeat(LONGEST_TEXT)],
        warnings: vec!["x".repeat(1 << 20); 3],
    };
    let text = answer("u", &long).to_string();
    assert!(text.len() < 5 * LONGEST_TEXT, "{}", text.len());
    assert!(text.contains("\u{e4}..."), "{text}");
}

#[test]
fn an_object_of_too_many_values_is_refused_and_what_is_not_judged_is_not_kept() {
    let mut large = pool("192.0.2.0/24");
    large["spec"]["addresses"] = json!(vec![""; bounded::MOST_VALUES]);
    for (new, old) in [(&large, &pool("a")), (&pool("a"), &large)] {
        let text = question(&body(POOL, "UPDATE", Some(new), Some(old)));
        let text = text.expect_err("too many values").to_string();
        assert!(
            text.contains("an object has more than 50000 values"),
            "{text}"
        );
    }
    let mut odd = pool("192.0.2.0/24");
    odd["status"] = json!("odd");
    odd["metadata"]["managedFields"] = json!([{ "fieldsV1": { "f:spec": {} } }]);
    let read = changed(&body(POOL, "CREATE", Some(&odd), None));
    assert_eq!(read.object().meta().managed_fields, None);
}

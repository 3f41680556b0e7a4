use serde_json::{Value, json};

use super::*;

fn service(spec: &Value, annotations: &Value) -> Service {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "web", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
    });
    for (field, value) in spec.as_object().expect("object") {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).expect("a Service")
}

fn reading(spec: &Value, annotations: &Value) -> Reading {
    let service = service(spec, annotations);
    read(&key(&service).expect("named"), &service)
}

fn request(spec: &Value, annotations: &Value) -> Request {
    let reading = reading(spec, annotations);
    assert_eq!(reading.problem, None);
    reading.request.expect("a request")
}

fn problem(spec: &Value, annotations: &Value) -> Problem {
    reading(spec, annotations).problem.expect("a problem")
}

#[test]
fn the_class_has_to_match_exactly() {
    let none = service(&json!({}), &json!({}));
    let classed = service(&json!({"loadBalancerClass": "example.com/lb"}), &json!({}));
    let empty = service(&json!({"loadBalancerClass": ""}), &json!({}));
    let other_type = service(&json!({"type": "NodePort"}), &json!({}));
    for (service, class, ours) in [
        (&none, "", true),
        (&none, "example.com/lb", false),
        (&classed, "", false),
        (&classed, "example.com/lb", true),
        (&classed, "example.com/l", false),
        (&empty, "", false),
        (&other_type, "", false),
    ] {
        assert_eq!(
            is_ours(service, class),
            ours,
            "{:?} with {class:?}",
            service.spec
        );
    }
}

#[test]
fn families_are_those_of_the_cluster_ips_in_their_order() {
    use IpFamily::{V4, V6};
    for (spec, families) in [
        (json!({}), vec![V4]),
        (
            json!({"clusterIPs": ["fd96::1", "10.96.0.1"]}),
            vec![V6, V4],
        ),
        (
            json!({"clusterIPs": null, "clusterIP": "fd96::1"}),
            vec![V6],
        ),
        (
            json!({"clusterIPs": [""], "clusterIP": "10.96.0.9"}),
            vec![V4],
        ),
    ] {
        assert_eq!(request(&spec, &json!({})).families, families, "{spec}");
    }
    let none = json!({"clusterIPs": null});
    assert_eq!(problem(&none, &json!({})), Problem::NoClusterIp);
    assert_eq!(reading(&none, &json!({})).request, None);
    let headless = json!({"clusterIPs": ["None"], "clusterIP": "None"});
    assert_eq!(
        problem(&headless, &json!({})),
        Problem::BadClusterIp(vec!["None".to_owned()])
    );
}

#[test]
fn addresses_come_from_annotation_or_field() {
    let ips = |text: &str| json!({"metallb.io/loadBalancerIPs": text});
    let addresses = |spec: Value, annotations: Value| -> Vec<String> {
        let request = request(&spec, &annotations);
        request.addresses.iter().map(ToString::to_string).collect()
    };
    assert_eq!(addresses(json!({}), json!({})), Vec::<String>::new());
    assert_eq!(addresses(json!({}), ips("192.0.2.1")), ["192.0.2.1"]);
    assert_eq!(
        addresses(json!({}), ips(" fd00::1 , 192.0.2.1 ")),
        ["fd00::1", "192.0.2.1"]
    );
    assert_eq!(
        addresses(json!({"loadBalancerIP": "192.0.2.7"}), json!({})),
        ["192.0.2.7"]
    );
    assert_eq!(
        addresses(json!({"loadBalancerIP": ""}), ips("")),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_wrong_with_requested_addresses_is_said_and_the_rest_stays_a_request() {
    let ips = |text: &str| json!({"metallb.io/loadBalancerIPs": text});
    let both = json!({"loadBalancerIP": "192.0.2.1"});
    assert_eq!(problem(&both, &ips("192.0.2.1")), Problem::BothRequested);
    assert_eq!(
        Problem::BothRequested.to_string(),
        "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: remove one"
    );
    for text in ["x", "192.0.2.1,", "192.0.2.300", "192.0.2.0/24"] {
        let found = problem(&json!({}), &ips(text));
        assert!(
            matches!(found, Problem::NotAnAddress { .. }),
            "{text}: {found}"
        );
        assert!(
            found.to_string().contains("metallb.io/loadBalancerIPs"),
            "{found}"
        );
    }
    for text in ["192.0.2.1,192.0.2.2", "192.0.2.1,fd00::1,fd00::2"] {
        let found = problem(&json!({}), &ips(text));
        assert!(matches!(found, Problem::TooMany { .. }), "{text}: {found}");
        assert!(found.keeps_addresses());
    }
    let field = json!({"loadBalancerIP": "192.0.2.1,fd00::1"});
    assert!(matches!(
        problem(&field, &json!({})),
        Problem::TooMany { .. }
    ));
    assert!(reading(&field, &json!({})).request.is_some());
}

#[test]
fn older_annotations_count_only_where_the_new_are_absent() {
    let old = json!({
        "metallb.universe.tf/address-pool": "old",
        "metallb.universe.tf/allow-shared-ip": "key",
    });
    let found = reading(&json!({}), &old);
    let request = found.request.expect("a request");
    assert_eq!(request.pool.as_deref(), Some("old"));
    assert_eq!(request.sharing_key.as_deref(), Some("key"));
    assert_eq!(
        found.deprecated,
        [
            "metallb.universe.tf/address-pool",
            "metallb.universe.tf/allow-shared-ip"
        ]
    );
    let both = json!({
        "metallb.universe.tf/address-pool": "old",
        "metallb.io/address-pool": "new",
    });
    let found = reading(&json!({}), &both);
    assert_eq!(
        found.request.expect("a request").pool.as_deref(),
        Some("new")
    );
    assert_eq!(found.deprecated, Vec::<&str>::new());
}

#[test]
fn the_backend_is_the_sorted_selector_of_local_services() {
    let local = |selector: Value| {
        request(
            &json!({"externalTrafficPolicy": "Local", "selector": selector}),
            &json!({}),
        )
        .backend
    };
    assert_eq!(
        request(&json!({"selector": {"a": "b"}}), &json!({})).backend,
        Backend::Cluster
    );
    assert_eq!(
        local(json!({"tier": "web", "app": "shop"})),
        Backend::LocalSelector("app=shop,tier=web".to_owned())
    );
    assert_eq!(local(Value::Null), Backend::LocalWithoutSelector);
    assert_eq!(local(json!({})), Backend::LocalWithoutSelector);
}

#[test]
fn ports_policy_and_status_are_read() {
    let spec = json!({
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}, {"port": 9, "protocol": "SCTP"}],
    });
    let mut object = service(&spec, &json!({"metallb.io/allow-shared-ip": ""}));
    object.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [
        {"hostname": "lb.example"}, {"ip": "192.0.2.3"}, {"ip": "nonsense"}, {"ip": "fd00::3"},
    ]}}))
    .expect("a status");
    let request = read(&key(&object).expect("named"), &object)
        .request
        .expect("a request");
    assert_eq!(request.family_policy, FamilyPolicy::PreferDualStack);
    assert_eq!(request.sharing_key, None);
    let ports: Vec<_> = request
        .ports
        .iter()
        .map(|port| (port.protocol, port.number))
        .collect();
    assert_eq!(
        ports,
        [
            (Protocol::Udp, 53),
            (Protocol::Tcp, 80),
            (Protocol::Sctp, 9)
        ]
    );
    assert_eq!(
        request.current,
        [
            "192.0.2.3".parse::<IpAddr>().expect("valid"),
            "fd00::3".parse().expect("valid")
        ]
    );
}

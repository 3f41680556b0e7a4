//! Values that the chart is tried with.

/// A name for errors, and the values.
pub const MATRIX: &[(&str, &str)] = &[
    ("defaults", "{}"),
    (
        "everything",
        r#"
imagePullSecrets: [{name: registry}]
fullnameOverride: lb
loadBalancerClass: example.com/herald
image: {repository: registry.example/herald, tag: "1.2", pullPolicy: Always}
tls:
  minVersion: TLS12
  cipherSuites: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
  curvePreferences: X25519,CurveP256
  controllerMetricsTLSSecret: one
  speakerMetricsTLSSecret: two
prometheus:
  scrapeAnnotations: true
  metricsPort: 9999
  serviceAccount: prometheus
  namespace: monitoring
  serviceMonitor:
    enabled: true
    interval: 15s
    metricRelabelings: [{action: labeldrop, regex: pod}]
    relabelings: [{action: labeldrop, regex: container}]
    speaker: {additionalLabels: {team: net}, annotations: {a: b}}
  prometheusRule:
    enabled: true
    additionalLabels: {team: net}
    addressPoolExhausted: {excludePools: "test-.*"}
    extraAlerts:
      - alert: Mine
        expr: vector(1)
grafana: {dashboard: {enabled: true, annotations: {folder: net}}}
controller:
  replicas: 3
  logLevel: debug
  logFormat: human
  debugPort: 6060
  webhookMode: disabled
  command: /herald
  image: {tag: "1.3"}
  serviceAccount: {name: mine, annotations: {a: b}}
  resources: {limits: {memory: 200Mi}}
  nodeSelector: {role: infra}
  tolerations: [{key: infra, operator: Exists}]
  runtimeClassName: fast
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  podAnnotations: {a: b}
  labels: {a: b}
  livenessProbe: {port: 8080}
  readinessProbe: {port: 8080}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]
  extraContainers: [{name: side, image: side}]
speaker:
  memberlist: {mlBindPort: 7947, mlBindAddrOverride: 192.0.2.1, mlSecretKeyPath: /key}
  secretName: key
  wanConfig: true
  excludeInterfaces: {patterns: ["^eth9$"]}
  ignoreExcludeLB: true
  gratuitousArpInterval: 5m
  handoverLimit: 10s
  bgpShutdownWait: 4
  terminationGracePeriodSeconds: 29
  bgpListenPort: 1179
  stateDir: /var/lib/other
  capabilities: [NET_RAW, SYS_NICE]
  tolerations: [{operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  resources: {requests: {cpu: 100m}}
  runtimeClassName: fast
  podAnnotations: {a: b}
  labels: {a: b}
  extraContainers: [{name: side, image: side}]
networkpolicies: {enabled: true, defaultDeny: true, apiPort: 443}
"#,
    ),
    (
        "pod monitors",
        "prometheus: {podMonitor: {enabled: true, interval: 30s, annotations: {a: b}}}",
    ),
    (
        "no group, no roles, no accounts",
        r"
rbac: {create: false}
controller: {serviceAccount: {create: false}, podDisruptionBudget: {enabled: false}}
speaker:
  memberlist: {enabled: false}
  serviceAccount: {create: false, name: other}
  excludeInterfaces: {enabled: false}
  tolerateMaster: false
  capabilities: []
  livenessProbe: {enabled: false}
  readinessProbe: {enabled: false}
  startupProbe: {enabled: false}
",
    ),
    ("controller alone", "speaker: {enabled: false}"),
    ("speakers alone", "controller: {enabled: false}"),
    (
        "written for MetalLB with FRR",
        r"
loadBalancerClass: metallb
prometheus:
  rbacPrometheus: true
  serviceAccount: prometheus
  namespace: monitoring
  podMonitor: {enabled: true, additionalLabels: {release: p}, tlsConfig: {insecureSkipVerify: true}}
  prometheusRule: {enabled: true, bgpSessionDown: {enabled: true, labels: {severity: page}}}
controller:
  strategy: {type: RollingUpdate}
  securityContext: {runAsNonRoot: true, runAsUser: 1000}
speaker:
  frr: {enabled: true, image: {repository: quay.io/frrouting/frr, tag: 10.5.3}, metricsPort: 9121}
  reloader: {resources: {}}
  frrMetrics: {resources: {}}
  initContainers: {cpFrrFiles: {resources: {}}}
  bgpDebounceTimeout: 500
  updateStrategy: {type: OnDelete}
  startupProbe: {enabled: true, failureThreshold: 60, periodSeconds: 5}
crds: {enabled: true, validationFailurePolicy: Ignore}
frrk8s: {enabled: false}
frr-k8s: {prometheus: {serviceMonitor: {enabled: false}}}
",
    ),
    (
        "webhooks alone, with a certificate of cert-manager",
        r"
controller:
  webhookMode: onlywebhook
  certManager: {enabled: true}
networkpolicies: {enabled: true}
speaker: {enabled: false}
",
    ),
    (
        "a certificate of an issuer that is there",
        r"
tls: {controllerMetricsTLSSecret: one}
controller:
  webhookConversion: false
  certManager: {enabled: true, issuerRef: {name: corporate, kind: ClusterIssuer, group: cert-manager.io}}
",
    ),
];

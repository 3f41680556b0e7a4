//! Values that the chart is tried with.

/// All values of MetalLB's chart (compat.md 7.1) as they are by default: what a user has who copied its
/// `values.yaml` and changed some of it. Nothing is left out, so that each key is known to be taken.
pub const METALLB: &str = r#"
imagePullSecrets: []
nameOverride: ""
fullnameOverride: ""
loadBalancerClass: ""
rbac: {create: true}
tls: {cipherSuites: "", curvePreferences: "", minVersion: "", controllerMetricsTLSSecret: "", speakerMetricsTLSSecret: ""}
prometheus:
  scrapeAnnotations: false
  metricsPort: 9120
  rbacPrometheus: true
  serviceAccount: ""
  namespace: ""
  podMonitor: {enabled: false, additionalLabels: {}, annotations: {}, jobLabel: app.kubernetes.io/name, interval: null, metricRelabelings: [], relabelings: [], tlsConfig: {insecureSkipVerify: true}}
  serviceMonitor:
    enabled: false
    speaker: {additionalLabels: {}, annotations: {}, tlsConfig: {insecureSkipVerify: true}}
    controller: {additionalLabels: {}, annotations: {}, tlsConfig: {insecureSkipVerify: true}}
    jobLabel: app.kubernetes.io/name
    interval: null
    metricRelabelings: []
    relabelings: []
  prometheusRule:
    enabled: false
    additionalLabels: {}
    annotations: {}
    staleConfig: {enabled: true, labels: {severity: warning}}
    configNotLoaded: {enabled: true, labels: {severity: warning}}
    addressPoolExhausted: {enabled: true, labels: {severity: critical}, excludePools: ""}
    addressPoolUsage:
      enabled: true
      thresholds: [{percent: 75, labels: {severity: warning}}, {percent: 85, labels: {severity: warning}}, {percent: 95, labels: {severity: critical}}]
      excludePools: ""
    bgpSessionDown: {enabled: true, labels: {severity: critical}}
    extraAlerts: []
controller:
  enabled: true
  logLevel: info
  webhookMode: enabled
  image: {repository: quay.io/metallb/controller, tag: null, pullPolicy: null}
  strategy: {type: RollingUpdate}
  serviceAccount: {create: true, name: "", annotations: {}}
  securityContext: {runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534}
  resources: {}
  nodeSelector: {}
  tolerations: []
  priorityClassName: ""
  runtimeClassName: ""
  affinity: {}
  podAnnotations: {}
  labels: {}
  livenessProbe: {enabled: true, port: 17472, failureThreshold: 3, initialDelaySeconds: 10, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1}
  readinessProbe: {enabled: true, port: 17472, failureThreshold: 3, initialDelaySeconds: 10, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1}
  extraContainers: []
speaker:
  enabled: true
  logLevel: info
  tolerateMaster: true
  memberlist: {enabled: true, mlBindPort: 7946, mlBindAddrOverride: "", mlSecretKeyPath: /etc/ml_secret_key}
  excludeInterfaces: {enabled: true}
  ignoreExcludeLB: false
  bgpDebounceTimeout: null
  image: {repository: quay.io/metallb/speaker, tag: null, pullPolicy: null}
  updateStrategy: {type: RollingUpdate}
  serviceAccount: {create: true, name: "", annotations: {}}
  securityContext: {}
  resources: {}
  nodeSelector: {}
  tolerations: []
  priorityClassName: ""
  affinity: {}
  runtimeClassName: ""
  podAnnotations: {}
  labels: {}
  livenessProbe: {enabled: true, port: 17472, failureThreshold: 3, initialDelaySeconds: 10, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1}
  readinessProbe: {enabled: true, port: 17472, failureThreshold: 3, initialDelaySeconds: 10, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1}
  startupProbe: {enabled: true, failureThreshold: 30, periodSeconds: 5}
  frr: {enabled: false, image: {repository: quay.io/frrouting/frr, tag: 10.5.3, pullPolicy: null}, metricsPort: 9121, resources: {}}
  reloader: {resources: {}}
  frrMetrics: {resources: {}}
  initContainers: {cpFrrFiles: {resources: {}}, cpReloader: {resources: {}}, cpMetrics: {resources: {}}}
  extraContainers: []
crds: {enabled: true, validationFailurePolicy: Fail}
frrk8s: {enabled: true, external: false, namespace: ""}
frr-k8s: {prometheus: {serviceMonitor: {enabled: false}}}
networkpolicies: {enabled: false, defaultDeny: false, apiPort: 6443}
"#;

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
    ("all defaults of MetalLB", METALLB),
    (
        "a small file for MetalLB: a class, tainted nodes, pinned images of a mirror",
        r#"
loadBalancerClass: metallb
imagePullSecrets: [{name: mirror}]
controller:
  image: {repository: mirror.example/metallb/controller, tag: v0.15.3, pullPolicy: IfNotPresent}
  nodeSelector: {node-role.kubernetes.io/control-plane: ""}
  tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]
  priorityClassName: system-cluster-critical
  resources: {limits: {cpu: 100m, memory: 100Mi}}
speaker:
  image: {repository: mirror.example/mirrored-metallb-speaker, tag: v0.15.3}
  nodeSelector: {lb: "true"}
  tolerateMaster: false
  tolerations: [{key: dedicated, operator: Equal, value: edge, effect: NoSchedule}]
  ignoreExcludeLB: true
  excludeInterfaces: {enabled: false}
  secretName: metallb-memberlist
"#,
    ),
    (
        "for MetalLB with frr-k8s of somebody else, and an operator of Prometheus",
        r"
prometheus:
  scrapeAnnotations: true
  serviceAccount: prometheus-k8s
  namespace: monitoring
  serviceMonitor: {enabled: true, interval: 30s, speaker: {additionalLabels: {release: prom}}, controller: {additionalLabels: {release: prom}}}
  prometheusRule: {enabled: true, additionalLabels: {release: prom}, addressPoolUsage: {thresholds: [{percent: 90, labels: {severity: page}}]}}
controller: {logLevel: warn, strategy: {type: Recreate}}
speaker: {logLevel: debug, bgpDebounceTimeout: 0, memberlist: {enabled: false}}
frrk8s: {enabled: true, external: true, namespace: frr-k8s-system, secretPassthrough: true}
frr-k8s: {frrk8s: {frr: {acceptIncomingBGPConnections: true}, alwaysBlock: 10.0.0.0/8}}
networkpolicies: {enabled: true, apiPort: 6443}
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

{{- define "herald.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for what is added to it. */}}
{{- define "herald.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "herald.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "herald.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "herald.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "herald.selectorLabels" . }}
{{- end }}

{{- define "herald.selectorLabels" -}}
app.kubernetes.io/name: {{ include "herald.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "herald.controller.serviceAccountName" -}}
{{- with .Values.controller.serviceAccount }}
{{- if .create }}{{ default (printf "%s-controller" (include "herald.fullname" $)) .name }}
{{- else }}{{ default "default" .name }}{{ end }}
{{- end }}
{{- end }}

{{- define "herald.speaker.serviceAccountName" -}}
{{- with .Values.speaker.serviceAccount }}
{{- if .create }}{{ default (printf "%s-speaker" (include "herald.fullname" $)) .name }}
{{- else }}{{ default "default" .name }}{{ end }}
{{- end }}
{{- end }}

{{- define "herald.memberlistSecret" -}}
{{- default (printf "%s-memberlist" (include "herald.fullname" .)) .Values.speaker.secretName }}
{{- end }}

{{/* "yes" if this is the name of an image of MetalLB's, or of a mirror's of it. */}}
{{- define "herald.isMetallb" -}}
{{- if regexMatch "metallb[-_/](controller|speaker)(@|:|$)" (. | default "") }}yes{{ end }}
{{- end }}

{{/* The lines "image:" and "imagePullPolicy:" of a component; takes the root and the component's values. */}}
{{- define "herald.image" -}}
{{- $own := (index . 1).image }}
{{- if include "herald.isMetallb" $own.repository }}
{{- /* Values of MetalLB's chart name it even where nobody chose it. The tag is of that image, too. */}}
{{- $own = pick $own "pullPolicy" }}
{{- end }}
{{- with (index . 0) }}
{{- $repository := default .Values.image.repository $own.repository }}
{{- $tag := default (default .Chart.AppVersion .Values.image.tag) $own.tag }}
image: {{ printf "%s:%s" $repository $tag | quote }}
{{- with default .Values.image.pullPolicy $own.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Arguments that both daemons take; takes the root, the component's values and its metrics Secret. */}}
{{- define "herald.commonArgs" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
- --port={{ $root.Values.prometheus.metricsPort }}
- --metrics-security={{ $root.Values.prometheus.security }}
- --health-probe-port={{ $component.readinessProbe.port }}
- --log-level={{ $component.logLevel }}
- --log-format={{ $component.logFormat }}
{{- with $component.debugPort }}
- --debug-bind-address=127.0.0.1:{{ . }}
{{- end }}
{{- with $root.Values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- with $root.Values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with $root.Values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with $root.Values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- if index . 2 }}
- --metrics-cert-dir=/etc/herald/metrics-tls
{{- end }}
{{- end }}

{{/* A probe; takes the component's values, the probe's name, its path and the address to ask. */}}
{{- define "herald.probe" -}}
{{- $probe := index (index . 0) (index . 1) }}
{{- if $probe.enabled }}
{{ index . 1 }}:
  httpGet:
    path: {{ index . 2 }}
    port: {{ (index . 0).readinessProbe.port }}
    {{- with index . 3 }}
    host: {{ . }}
    {{- end }}
  {{- toYaml (omit $probe "enabled" "port") | nindent 2 }}
{{- end }}
{{- end }}

{{/* Annotations for a Prometheus that looks for them. */}}
{{- define "herald.scrapeAnnotations" -}}
{{- if .Values.prometheus.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/scheme: {{ include "herald.scheme" . }}
prometheus.io/port: {{ .Values.prometheus.metricsPort | quote }}
{{- end }}
{{- end }}

{{/* What `/metrics` speaks. */}}
{{- define "herald.scheme" -}}
{{- if eq .Values.prometheus.security "none" }}http{{ else }}https{{ end }}
{{- end }}

{{/* What endpoints of a PodMonitor and of a ServiceMonitor have in common; takes the root, the monitor's values and its tlsConfig. */}}
{{- define "herald.endpoint" -}}
{{- $root := index . 0 }}
{{- $monitor := index . 1 }}
port: metricshttps
path: /metrics
scheme: {{ include "herald.scheme" $root }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- if eq $root.Values.prometheus.security "authorized" }}
authorization:
  type: Bearer
  credentials:
    name: {{ include "herald.fullname" $root }}-metrics-reader
    key: token
{{- end }}
{{- if ne $root.Values.prometheus.security "none" }}
{{- with index . 2 }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "herald.alertLabels" -}}
{{- with .labels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* "yes" if cert-manager makes the certificate of the webhooks. */}}
{{- define "herald.certManager" -}}
{{- if and .Values.controller.certManager.enabled (ne .Values.controller.webhookMode "disabled") }}yes{{ end }}
{{- end }}

{{/* The rules of a daemon that finds out who may read its metrics. */}}
{{- define "herald.reviews" -}}
{{- if eq .Values.prometheus.security "authorized" }}
# Who may read the metrics.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
{{- end }}

{{/*
What several templates need: names, labels, images, and what the pods have in common. A component is passed on as
`dict "root" $ "component" "gateway" "values" .Values.gateway`.
*/}}

{{/* The longest suffix, `-reject-engine`, must fit into the 63 characters of a label. */}}
{{- define "fix-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fix-gateway.component" -}}
{{- printf "%s-%s" (include "fix-gateway.fullname" .root) .component -}}
{{- end -}}

{{/* INVARIANT: selectors never change, or an upgrade is refused. */}}
{{- define "fix-gateway.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "fix-gateway.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "fix-gateway.selector" . }}
app.kubernetes.io/part-of: fix-gateway
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of pods. INVARIANT: none of them follows the chart's version: what changes here replaces the pods, and ends their sessions. */}}
{{- define "fix-gateway.podLabels" -}}
{{- with merge (dict) .values.podLabels .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "fix-gateway.selector" . }}
app.kubernetes.io/part-of: fix-gateway
{{- end -}}

{{/* Labels and annotations of an object. With `annotations`, its own go over those of all. */}}
{{- define "fix-gateway.metadata" -}}
labels:
  {{- include "fix-gateway.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fix-gateway.serviceAccountName" -}}
{{- if .values.serviceAccount.create -}}
{{- default (include "fix-gateway.component" .) .values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fix-gateway.image" -}}
{{- $image := .values.image -}}
{{- $repository := $image.repository -}}
{{- with .root.Values.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What does not depend on what a pod does. `spread: none` for pods that are one to a node anyway. */}}
{{- define "fix-gateway.pod" -}}
serviceAccountName: {{ include "fix-gateway.serviceAccountName" . }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "fix-gateway.affinity" . | fromYaml }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- $selector := dict "matchLabels" (include "fix-gateway.selector" . | fromYaml) }}
{{- range .values.topologySpreadConstraints }}
  {{- toYaml (list (merge (deepCopy .) (dict "labelSelector" $selector))) | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The user's affinity, and pods of a component on different nodes. */}}
{{- define "fix-gateway.affinity" -}}
{{- $affinity := deepCopy .values.affinity -}}
{{- if and .values.antiAffinity.enabled (ne (default "" .spread) "none") -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "fix-gateway.selector" . | fromYaml)) -}}
{{- $apart := dig "podAntiAffinity" dict $affinity -}}
{{- if eq .values.antiAffinity.type "required" -}}
{{- $key := "requiredDuringSchedulingIgnoredDuringExecution" -}}
{{- $_ := set $apart $key (append (dig $key list $apart) $term) -}}
{{- else -}}
{{- $key := "preferredDuringSchedulingIgnoredDuringExecution" -}}
{{- $_ := set $apart $key (append (dig $key list $apart) (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- end -}}
{{- $_ := set $affinity "podAntiAffinity" $apart -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* What does not depend on what a container does. */}}
{{- define "fix-gateway.container" -}}
image: {{ include "fix-gateway.image" . | quote }}
imagePullPolicy: {{ .values.image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- end -}}

{{/* listenAddress, as it stands before a port. */}}
{{- define "fix-gateway.listen" -}}
{{- contains ":" .Values.listenAddress | ternary (printf "[%s]" .Values.listenAddress) .Values.listenAddress -}}
{{- end -}}

{{/* Values that come from JSON are floating-point numbers, which templates write as 1e+06. */}}
{{- define "fix-gateway.seconds" -}}
{{- $ms := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $ms = add $ms (mul $number (get $unit (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- div (add $ms 999) 1000 -}}
{{- end -}}

{{/* The pointer to the table in force; `fixgw pause` and `fixgw resume` name it by --table. */}}
{{- define "fix-gateway.table" -}}
{{- printf "%s-table" (include "fix-gateway.fullname" .) -}}
{{- end -}}

{{- define "fix-gateway.leaseNamespace" -}}
{{- default .Release.Namespace .Values.operator.leaseNamespace -}}
{{- end -}}

{{/* In a namespace of others, the release's own tells it from releases of the same name. */}}
{{- define "fix-gateway.lease" -}}
{{- $name := include "fix-gateway.component" (dict "root" . "component" "operator") -}}
{{- if eq (include "fix-gateway.leaseNamespace" .) .Release.Namespace -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $name -}}
{{- end -}}
{{- end -}}

{{/* Ports of a NetworkPolicy. */}}
{{- define "fix-gateway.tcpPorts" -}}
{{- range $at, $port := . -}}
{{ if $at }}
{{ end -}}
- { protocol: TCP, port: {{ int64 $port }} }
{{- end -}}
{{- end -}}

{{/* A rule of egress to whoever resolves names. */}}
{{- define "fix-gateway.dnsEgress" -}}
- ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - { protocol: UDP, port: {{ int64 . }} }
    - { protocol: TCP, port: {{ int64 . }} }
    {{- end }}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The gateway's pods as peers: by their labels, or in their nodes' network by the nodes' addresses. */}}
{{- define "fix-gateway.gatewayPeers" -}}
{{- if .Values.gateway.hostNetwork -}}
{{- range $at, $node := .Values.networkPolicy.nodes -}}
{{ if $at }}
{{ end -}}
- ipBlock: { cidr: {{ $node | quote }} }
{{- end -}}
{{- else -}}
- podSelector:
    matchLabels:
      {{- include "fix-gateway.selector" (dict "root" . "component" "gateway") | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* The object that a PodDisruptionBudget is about. */}}
{{- define "fix-gateway.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "fix-gateway.component" . }}
  namespace: {{ .root.Release.Namespace }}
  {{- include "fix-gateway.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "fix-gateway.selector" . | nindent 6 }}
{{- end -}}

{{- define "fix-gateway.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "fix-gateway.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  {{- include "fix-gateway.metadata" (merge (dict "annotations" .values.serviceAccount.annotations) .) | nindent 2 }}
automountServiceAccountToken: {{ eq .component "operator" }}
{{- end -}}

{{/* Refuses a duration out of its bounds: `dict "name" … "value" … "from" "5s" "to" "15m"`. */}}
{{- define "fix-gateway.bounds" -}}
{{- $seconds := include "fix-gateway.seconds" .value | int64 -}}
{{- if or (lt $seconds (include "fix-gateway.seconds" .from | int64)) (gt $seconds (include "fix-gateway.seconds" .to | int64)) -}}
{{- fail (printf "%s: %s is out of bounds: write a duration from %s to %s" .name .value .from .to) -}}
{{- end -}}
{{- end -}}

{{/* What values.schema.json cannot know, because it takes two values to know it. Each sentence says what to write instead. */}}
{{- define "fix-gateway.validate" -}}
{{- $gateway := .Values.gateway -}}
{{- range $bounds := list
  (list "holdTimeout" $gateway.holdTimeout "1ms" "1h")
  (list "connectTimeout" $gateway.connectTimeout "1ms" "5m")
  (list "tcpTimeout" $gateway.tcpTimeout "5s" "15m")
  (list "idleTimeout" $gateway.idleTimeout "1s" "168h")
  (list "drain.timeout" $gateway.drain.timeout "1s" "168h")
  (list "drain.margin" $gateway.drain.margin "1s" "1h") -}}
{{- if index $bounds 1 -}}
{{- include "fix-gateway.bounds" (dict "name" (printf "gateway.%s" (first $bounds)) "value" (index $bounds 1) "from" (index $bounds 2) "to" (last $bounds)) -}}
{{- end -}}
{{- end -}}
{{- $names := list -}}
{{- $taken := dict (toString (int64 $gateway.adminPort)) "gateway.adminPort" -}}
{{- range $key := list "probePort" "metricsPort" -}}
{{- $port := toString (int64 (get $gateway $key)) -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "gateway.%s: %s is %s already: give it another one" $key $port (get $taken $port)) -}}
{{- end -}}
{{- $_ := set $taken $port (printf "gateway.%s" $key) -}}
{{- end -}}
{{- $served := dict -}}
{{- range $at, $listener := $gateway.listeners -}}
{{- $place := printf "gateway.listeners[%d]" $at -}}
{{- if has $listener.name $names -}}
{{- fail (printf "%s.name: there are two listeners `%s`: give each a name of its own" $place $listener.name) -}}
{{- end -}}
{{- $names = append $names $listener.name -}}
{{- $port := toString (int64 $listener.port) -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "%s.port: %s belongs to %s already: give it another one" $place $port (get $taken $port)) -}}
{{- end -}}
{{- $_ := set $taken $port $place -}}
{{- $service := toString (int64 (default $listener.port $listener.servicePort)) -}}
{{- if hasKey $served $service -}}
{{- fail (printf "%s.servicePort: the Service has %s for %s already: give it another one" $place $service (get $served $service)) -}}
{{- end -}}
{{- $_ := set $served $service $place -}}
{{- if and $listener.nodePort (eq $gateway.service.type "ClusterIP") -}}
{{- fail (printf "%s.nodePort: a Service of type ClusterIP has none: leave it out, or set gateway.service.type to NodePort or LoadBalancer" $place) -}}
{{- end -}}
{{- $tls := $listener.tls | default dict -}}
{{- if not $tls.enabled -}}
{{- range $key := without (keys $tls | sortAlpha) "enabled" -}}
{{- fail (printf "%s.tls.%s: the listener has no TLS: set tls.enabled to true, or leave it out" $place $key) -}}
{{- end -}}
{{- else if not $tls.secretName -}}
{{- fail (printf "%s.tls.secretName: a listener with TLS needs a Secret with tls.crt and tls.key: name it" $place) -}}
{{- else -}}
{{- if and $tls.cipherSuites (eq (default "1.2" $tls.minVersion) "1.3") -}}
{{- fail (printf "%s.tls.cipherSuites: these are of TLS 1.2, which minVersion does not let in: leave one of them out" $place) -}}
{{- end -}}
{{- if and $tls.clientCaSecretName (ne (default "none" $tls.clientCa) "ca.crt") -}}
{{- fail (printf "%s.tls.clientCaSecretName: no client is asked for a certificate: set tls.clientCa to ca.crt, or leave it out" $place) -}}
{{- end -}}
{{- if and $.Values.certManager.enabled (not (concat $.Values.certManager.dnsNames ($tls.dnsNames | default list))) -}}
{{- fail (printf "%s.tls.dnsNames: cert-manager makes no certificate without a name: give some here, or in certManager.dnsNames" $place) -}}
{{- end -}}
{{- if and $tls.dnsNames (not $.Values.certManager.enabled) -}}
{{- fail (printf "%s.tls.dnsNames: nobody makes a certificate of them: set certManager.enabled to true, or leave it out" $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.certManager.enabled (not .Values.certManager.issuerRef.name) -}}
{{- fail "certManager.issuerRef.name: name the Issuer or ClusterIssuer that issues the certificates" -}}
{{- end -}}
{{- if eq $gateway.mode "daemonset" -}}
{{- if $gateway.autoscaling.enabled -}}
{{- fail "gateway.autoscaling.enabled: a DaemonSet has one pod for each node: leave it off, or set gateway.mode to deployment" -}}
{{- end -}}
{{- else -}}
{{- if eq $gateway.updateStrategy.type "OnDelete" -}}
{{- fail "gateway.updateStrategy.type: OnDelete is for a DaemonSet: write RollingUpdate, or set gateway.mode to daemonset" -}}
{{- end -}}
{{- end -}}
{{- if and $gateway.autoscaling.enabled (lt (int64 $gateway.autoscaling.maxReplicas) (int64 $gateway.autoscaling.minReplicas)) -}}
{{- fail "gateway.autoscaling.maxReplicas: is below minReplicas: raise it" -}}
{{- end -}}
{{- if and $gateway.service.loadBalancerSourceRanges (ne $gateway.service.type "LoadBalancer") -}}
{{- fail "gateway.service.loadBalancerSourceRanges: only a load balancer looks at them: set gateway.service.type to LoadBalancer, or use networkPolicy.counterparties" -}}
{{- end -}}
{{- if and (eq $gateway.service.externalTrafficPolicy "Local") (eq $gateway.service.type "ClusterIP") -}}
{{- fail "gateway.service.externalTrafficPolicy: a Service of type ClusterIP takes nothing from outside: write Cluster, or set gateway.service.type to LoadBalancer or NodePort" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled $gateway.hostNetwork (not .Values.networkPolicy.nodes) -}}
{{- fail "networkPolicy.nodes: with gateway.hostNetwork, gateways are known by their nodes' addresses alone: give these as CIDR" -}}
{{- end -}}
{{- if gt (int64 .Values.operator.settle.quietMs) (int64 .Values.operator.settle.maxMs) -}}
{{- fail "operator.settle.quietMs: is above maxMs: lower it" -}}
{{- end -}}
{{- end -}}
